"""The keywords of JSON Schema, by the kind of their value and by the type that they restrict.

Pure.
"""

from collections.abc import Iterator, Mapping

from dagcall.plain_json import Json

JsonObject = dict[str, Json]

DEFINITIONS = "#/$defs/"
"""The prefix of a reference to a definition at the root of a schema."""
KINDS = ("string", "integer", "number", "boolean", "object", "array", "null")

SCHEMA_KEYS = frozenset(
    {"items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
"""Their value is a schema."""
SCHEMA_LIST_KEYS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
"""Their value is a list of schemas."""
SCHEMA_MAP_KEYS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Their value is an object of schemas."""
DECIDING_KEYS = frozenset({"const", "dependentRequired", "enum", "pattern", "required"})
"""Their value is data that decides which values are valid."""

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
"""Type -> the keywords that restrict only values of this type."""


def subschemas(schema: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    """Yield the direct subschemas of a schema, each with its keyword; `True` and `False` are schemas, too."""
    for key, value in schema.items():
        if key in SCHEMA_KEYS:
            yield key, value
        elif key in SCHEMA_LIST_KEYS:
            yield from ((key, item) for item in value)
        elif key in SCHEMA_MAP_KEYS:
            yield from ((key, item) for item in value.values())


def objects_in(schema: Json) -> Iterator[Mapping[str, Json]]:
    """Yield a schema and every nested schema, except `True` and `False`."""
    if isinstance(schema, Mapping):
        yield schema
        for _, inner in subschemas(schema):
            yield from objects_in(inner)


def referred_to(schema: Json) -> Iterator[str]:
    """Yield the names of the definitions at the root that a schema refers to."""
    return (inner["$ref"].removeprefix(DEFINITIONS) for inner in objects_in(schema) if "$ref" in inner)


def kind_of(value: Json) -> str:
    """Return the type of a value; a whole number is an integer, even if written as a float."""
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
