"""One example call for each tool, as a command to paste into a shell."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

#: A value of each JSON type, for params with neither an example nor a default.
PLACEHOLDERS: Mapping[str, Any] = {
    "string": "text",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "array": [],
    "object": {},
    "null": None,
}
#: A value of each format that Airflow checks.
FORMATS: Mapping[str, Any] = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00",
    "email": "someone@example.com",
}


def example_calls(tools: list[dict[str, Any]]) -> list[str]:
    """Return a command for each tool (`{"name": …, "inputSchema": …}`), with its required params.

    Example:
        `dagcall call summarize_text text='One. Two.'`
    """
    return [example_call(tool) for tool in tools]


def example_call(tool: Mapping[str, Any]) -> str:
    """Return the command that calls one tool."""
    schema = tool["inputSchema"]
    required = schema.get("required", [])
    # In the dag's order; `required` is sorted.
    names = [name for name in schema.get("properties", {}) if name in required]
    arguments = [argument(name, example_value(schema["properties"][name])) for name in names]
    return " ".join(["dagcall call", shlex.quote(tool["name"]), *arguments])


def example_value(schema: Mapping[str, Any]) -> Any:
    """Return a value for a param: its first example, its default, or a value of its type."""
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    kind = schema.get("type", "string")
    first = kind[0] if isinstance(kind, list) else kind
    if first == "object":
        properties = schema.get("properties", {})
        return {name: example_value(properties.get(name, {})) for name in schema.get("required", [])}
    if first == "array":
        return [example_value(schema.get("items", {}))] * schema.get("minItems", 0)
    if first == "string" and schema.get("format") in FORMATS:
        return FORMATS[schema["format"]]
    return schema.get("minimum", PLACEHOLDERS[first])


def argument(name: str, value: Any) -> str:
    """Return `name=value`, quoted for a shell: text unchanged, other values as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{shlex.quote(name)}={shlex.quote(text)}"
