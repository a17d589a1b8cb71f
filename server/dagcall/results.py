"""A stored XCom -> plain JSON that every MCP client can read.

Pure, and total: any value that `json.loads` can make comes back as JSON without `NaN`, in valid Unicode, at most
`MAX_DEPTH` levels deep.

Airflow stores XComs as JSON in which a value that JSON has no word for stands in an envelope
`{"__classname__": "builtins.tuple", "__version__": 1, "__data__": [1, 2]}` (`airflow.sdk.serde`). What is written:

* tuple, set, frozenset (and named tuples, as tuples): `__data__` is the list
* datetime, pendulum's DateTime: `{"timestamp": seconds, "tz": null | name | [name or offset, class, version, true]}`
* date: ISO text; timedelta: seconds; Decimal and numpy scalars: the number; UUID and time zones: text
* pydantic models, dataclasses, attrs classes and classes with a `serialize` method: the dict of their fields
* pandas DataFrame: Parquet in hexadecimal

The older spelling `{"__type": …, "__var": …}` is still read.
"""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from dagcall.model import Json

MAX_DEPTH = 100
"""Levels of arrays and objects; what lies deeper comes as its JSON text. pydantic stops at 255."""

_DATETIMES = frozenset({"datetime.datetime", "pendulum.datetime.DateTime"})


def plain_json(value: Json, depth: int = 0) -> Json:
    """Return the value without Airflow's envelopes. `NaN` and infinities become null."""
    if isinstance(value, str):
        return _valid_unicode(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not isinstance(value, list | dict):
        return value
    if depth >= MAX_DEPTH:
        return _valid_unicode(json.dumps(value, ensure_ascii=False))
    if isinstance(value, list):
        return [plain_json(item, depth + 1) for item in value]
    if isinstance(value.get("__classname__"), str) and "__version__" in value:
        return _from_envelope(value["__classname__"], value.get("__data__"), depth)
    if value.keys() == {"__type", "__var"}:
        return plain_json(value["__var"], depth + 1)
    return {_valid_unicode(key): plain_json(item, depth + 1) for key, item in value.items()}


def placed_by_map_index(values: Sequence[Json], stored: Sequence[int], expanded: Sequence[int]) -> list[Json]:
    """Put the values of a mapped task where they belong.

    Args:
        values: what was stored, in map-index order.
        stored: the map indexes that stored something, in order; as many as values.
        expanded: all map indexes of the task in this run.

    Returns:
        One element for each index of `expanded`, in order; None where nothing was stored.
    """
    by_index = dict(zip(stored, values, strict=True))
    return [by_index.get(index) for index in sorted(expanded)]


def _from_envelope(classname: str, data: Json, depth: int) -> Json:
    if classname in _DATETIMES and isinstance(data, Mapping):
        return _iso_datetime(data) or plain_json(data, depth + 1)
    if classname.startswith("pandas.") and isinstance(data, str):
        return (
            f"a {classname} stored as Parquet ({len(data) // 2:,} bytes); have the task return records to read it here"
        )
    return plain_json(data, depth + 1)


def _iso_datetime(data: Mapping[str, Json]) -> str | None:
    """Return ISO 8601 text, or None where the envelope is not of the form that Airflow writes."""
    zone = _time_zone(plain_json(data.get("tz")))
    try:
        moment = datetime.fromtimestamp(data["timestamp"], UTC)
        local = moment.astimezone(zone) if zone else moment.replace(tzinfo=None)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None
    return local.isoformat()


def _time_zone(described: Json) -> tzinfo | None:
    """Read a zone's name or its offset in seconds; a zone unknown here becomes UTC, which names the same moment."""
    name = described[0] if isinstance(described, list) and described else described
    try:
        if isinstance(name, int | float):
            return timezone(timedelta(seconds=name))
        return ZoneInfo(name) if isinstance(name, str) else None
    except (ValueError, OSError, OverflowError, KeyError):  # ZoneInfo says "not found" with a KeyError
        return UTC


def _valid_unicode(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
