"""JSON of arguments and results, and the limits of Airflow.

Pure.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Json = Any
"""A value as `json.loads` makes it."""

MAX_BYTES = 1_048_576
"""As JSON. Airflow stores conf in its database and returns it with every list of runs."""
MAX_DEPTH = 100
"""Levels of arrays and objects. PostgreSQL and every JSON parser involved have limits; this is below all of them."""

MIN_WHOLE_NUMBER, MAX_WHOLE_NUMBER = -(2**63), 2**64 - 1
"""Airflow passes arguments to its workers in a format without integers beyond 64 bits. PostgreSQL turns 1e20 into such
an integer, too."""

MAX_EXACT_NUMBER = 2**53
"""JavaScript's integers are exact up to here."""
_LARGE_NUMBER = re.compile("-?[1-9][0-9]{15,19}")

# `json.dumps` with options creates an encoder for each call.
canonical: Callable[[Json], str] = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
"""Returns the JSON text of arguments, independent of the order of keys."""
_as_sent: Callable[[Json], str] = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


def transport_problems(arguments: Mapping[str, Json], max_bytes: int = MAX_BYTES) -> Iterator[str]:
    """Yield problems of arguments that Airflow's PostgreSQL database could not store.

    Args:
        arguments: the call's arguments.
        max_bytes: maximum size, as JSON.
    """
    if _is_deeper_than(arguments, MAX_DEPTH):
        yield f"the arguments are nested more than {MAX_DEPTH} levels deep"
        return
    try:
        text = _as_sent(arguments)
        size = len(text.encode())
    except UnicodeEncodeError:
        yield "the arguments contain half of a surrogate pair, which is not valid text"
        return
    except ValueError as error:  # NaN, Infinity, or a number with more than 4,300 digits
        yield f"the arguments contain a number that JSON cannot carry: {error}"
        return
    if size > max_bytes:
        yield (
            f"the arguments are {size:,} bytes of JSON; at most {max_bytes:,} are taken here; pass large values "
            "as a name or an address from which the dag can read them"
        )
    elif "\\u0000" in text and _holds_nul(arguments):
        yield "the arguments contain a NUL character, which Airflow's database cannot store"
    elif number := next(_numbers_beyond_64_bits(arguments), None):
        yield (
            f"the arguments contain the number {number}, which does not fit into 64 bits; a run with it would fail in "
            "Airflow before any task starts"
        )


def with_whole_numbers(value: Json) -> Json:
    """Return the value with each whole float as an integer: `3.0` as `3`.

    They are the same number in JSON, and JavaScript writes both as `3`; Python's `range`, for one, needs an integer.

    Args:
        value: at most `MAX_DEPTH` levels deep.
    """
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        return {name: with_whole_numbers(item) for name, item in value.items()}
    return [with_whole_numbers(item) for item in value] if isinstance(value, list) else value


def json_within(text: str) -> Json | None:
    """Return the list, object or integer too large for JavaScript that a text contains as JSON; otherwise None.

    Several clients send lists and objects as text. JavaScript's integers are exact up to 2^53, so larger ones reach us
    unchanged only as text.
    """
    if text.lstrip()[:1] not in {"[", "{"} and not _LARGE_NUMBER.fullmatch(text):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, int) and abs(value) <= MAX_EXACT_NUMBER:
        return None
    return None if next(transport_problems({"": value}), None) else with_whole_numbers(value)


def _is_deeper_than(value: Json, limit: int) -> bool:
    level: list[Json] = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, Mapping) else item)
            if isinstance(child, Mapping | list)
        ]
        if not level:
            return False
    return True


def _numbers_beyond_64_bits(value: Json) -> Iterator[int | float]:
    if isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers_beyond_64_bits(item)
    elif isinstance(value, int | float) and not MIN_WHOLE_NUMBER <= value <= MAX_WHOLE_NUMBER:
        yield value


def _holds_nul(value: Json) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(_holds_nul(key) or _holds_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_holds_nul(item) for item in value)
