"""A cache of recently read results, so that reading in parts does not fetch all of them for each part.

Everything in it can be read again: on another replica, and after a restart, it is merely empty.
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping

from dagcall.plain_json import Json
from dagcall.results.preview import json_size

MAX_BYTES = 16_000_000
"""Of JSON, for all results together; Python objects take about five times as much."""


class ResultsCache:
    """Keeps the most recently used results, up to a size."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, tuple[int, Mapping[str, Json]]] = OrderedDict()
        """The most recently used comes last."""
        self._bytes = 0

    def get(self, key: Hashable) -> Mapping[str, Json] | None:
        """Return the results under a key, if they are still cached."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][1]

    def put(self, key: Hashable, results: Mapping[str, Json]) -> None:
        """Cache results, unless they exceed the size, and drop the oldest for them."""
        self._bytes -= self._kept.pop(key, (0, {}))[0]
        size = json_size(results)
        if size > self._max_bytes:
            return
        self._kept[key] = (size, results)
        self._bytes += size
        while self._bytes > self._max_bytes:
            _, (oldest_size, _) = self._kept.popitem(last=False)
            self._bytes -= oldest_size
