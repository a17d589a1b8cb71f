"""Words on a command line -> arguments of a call.

Pure.
"""

import json
from collections.abc import Callable, Mapping, Sequence

from dagcall.plain_json import Json


def arguments_from_words(
    words: Sequence[str], schema: Mapping[str, Json], *, read_file: Callable[[str], str]
) -> dict[str, Json]:
    """Parse `key=value` words by a tool's input schema.

    A value stays text if the schema's type is string; otherwise it is parsed as JSON, if it is JSON. `key=@path` reads
    the value from a file.

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
