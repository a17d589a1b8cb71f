"""What arguments may look like before any schema is asked, and how words on a command line become arguments.

Pure.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from dagcall.model import Json

MAX_BYTES = 1_048_576
"""As JSON. Airflow keeps conf in its database and sends it along with every list of runs."""
MAX_DEPTH = 100
"""Levels of arrays and objects. PostgreSQL and every JSON parser on the way have a limit; this is below all of them."""

# `json.dumps` makes an encoder for each text that is not quite as it makes them.
canonical: Callable[[Json], str] = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
"""Returns the JSON text of arguments, the same for equal ones whatever the order of their names."""
_as_sent: Callable[[Json], str] = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


def transport_problems(arguments: Mapping[str, Json], max_bytes: int = MAX_BYTES) -> Iterator[str]:
    """Find what no JSON document in a PostgreSQL database can hold, before anything tries to.

    Args:
        arguments: of a call.
        max_bytes: what they may take, as JSON.
    """
    if _is_deeper_than(arguments, MAX_DEPTH):
        yield f"the arguments are nested more than {MAX_DEPTH} levels deep"
        return
    try:
        text = _as_sent(arguments)
        size = len(text.encode())
    except UnicodeEncodeError:
        yield "the arguments hold half of a surrogate pair, which is not text"
        return
    except ValueError as error:  # NaN, Infinity, or a number of more than 4,300 digits
        yield f"the arguments hold a number that JSON cannot carry: {error}"
        return
    if size > max_bytes:
        yield (
            f"the arguments are {size:,} bytes of JSON; at most {max_bytes:,} are taken here; pass what is large by a "
            "name or an address under which the dag finds it"
        )
    elif "\\u0000" in text and _holds_nul(arguments):
        yield "the arguments hold a NUL character, which Airflow's database cannot store"


def arguments_from_words(
    words: Sequence[str], schema: Mapping[str, Json], *, read_file: Callable[[str], str]
) -> dict[str, Json]:
    """Read `key=value` words by a tool's input schema.

    A value is taken as it stands where the schema says text, and else as JSON if it is JSON. `key=@path` takes the
    value from a file.

    Args:
        words: e.g. `["text=Hello there.", "max_sentences=2"]`.
        schema: the tool's input schema; `{}` if the tool is not known.
        read_file: returns a file's text.

    Raises:
        ValueError: a word has no `=`, or a key comes twice.
    """
    properties = schema.get("properties", {})
    arguments: dict[str, Json] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ValueError(f"{word!r} is not of the form key=value")
        if key in arguments:
            raise ValueError(f"{key} is given twice")
        value = read_file(text[1:]) if text.startswith("@") else text
        arguments[key] = value if _is_text(properties.get(key, {})) else _json_or_text(value)
    return arguments


def _is_text(schema: Mapping[str, Json]) -> bool:
    if "enum" in schema and "type" not in schema:
        return all(isinstance(value, str) for value in schema["enum"])
    return schema.get("type") == "string"


def _json_or_text(text: str) -> Json:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


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


def _holds_nul(value: Json) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(_holds_nul(key) or _holds_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_holds_nul(item) for item in value)
