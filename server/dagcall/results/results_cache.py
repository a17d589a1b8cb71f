"""A cache of recently read results, so that reading in parts does not fetch all of them for each part.

Everything in it can be read again: on another replica, and after a restart, it is merely empty.
"""

from collections.abc import Hashable, Mapping
from contextlib import suppress

from cachetools import LRUCache

from dagcall.plain_json import Json
from dagcall.results.preview import json_size

MAX_BYTES = 16_000_000
"""Of JSON, for all results together; Python objects take about five times as much."""


class ResultsCache(LRUCache[Hashable, Mapping[str, Json]]):
    """Keeps the most recently used results, up to a size."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        super().__init__(max_bytes, getsizeof=json_size)

    def put(self, key: Hashable, results: Mapping[str, Json]) -> None:
        """Cache results, unless they alone exceed the size."""
        with suppress(ValueError):
            self[key] = results
