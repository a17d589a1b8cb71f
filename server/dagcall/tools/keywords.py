"""The keywords of JSON Schema, by what stands behind them and by which values they are about.

Pure.
"""

from collections.abc import Iterator, Mapping

from dagcall.plain_json import Json

JsonObject = dict[str, Json]

DEFINITIONS = "#/$defs/"
"""What a reference to a definition at the root of a schema begins with."""
KINDS = ("string", "integer", "number", "boolean", "object", "array", "null")

SCHEMA_KEYS = frozenset(
    {"items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
"""A schema."""
SCHEMA_LIST_KEYS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
"""A list of schemas."""
SCHEMA_MAP_KEYS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""An object of schemas."""
DECIDING_KEYS = frozenset({"const", "dependentRequired", "enum", "pattern", "required"})
"""Data that decides which values fit."""

_NUMERIC = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
KEYWORDS_OF: Mapping[str, frozenset[str]] = {
    "string": frozenset(
        {"minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType", "contentSchema"}
    ),
    "integer": _NUMERIC,
    "number": _NUMERIC,
    "boolean": frozenset(),
    "object": frozenset(
        {"properties", "patternProperties", "additionalProperties", "propertyNames", "required", "minProperties"}
        | {"maxProperties", "dependentRequired", "dependentSchemas"}
    ),
    "array": frozenset(
        {"items", "prefixItems", "contains", "minContains", "maxContains", "minItems", "maxItems", "uniqueItems"}
    ),
    "null": frozenset(),
}
"""Kind of value -> the keywords that are about values of this kind only."""


def subschemas(schema: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    """Yield the schemas that stand directly in a schema, each with its keyword; `True` and `False` are schemas, too."""
    for key, value in schema.items():
        if key in SCHEMA_KEYS:
            yield key, value
        elif key in SCHEMA_LIST_KEYS:
            yield from ((key, item) for item in value)
        elif key in SCHEMA_MAP_KEYS:
            yield from ((key, item) for item in value.values())


def objects_in(schema: Json) -> Iterator[Mapping[str, Json]]:
    """Yield a schema and every schema within it, except for `True` and `False`."""
    if isinstance(schema, Mapping):
        yield schema
        for _, inner in subschemas(schema):
            yield from objects_in(inner)


def referred_to(schema: Json) -> Iterator[str]:
    """Yield the names of the definitions at the root that a schema refers to."""
    return (inner["$ref"].removeprefix(DEFINITIONS) for inner in objects_in(schema) if "$ref" in inner)


def kind_of(value: Json) -> str:
    """Return the kind of a value; a whole number is an integer, however it is written."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
