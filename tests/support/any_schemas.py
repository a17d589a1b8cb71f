"""Hypothesis strategies for all kinds of schemas that an author can write, and values for them."""

from typing import Any

from hypothesis import strategies as st

KINDS = ["string", "integer", "number", "boolean", "object", "array", "null"]
NAMES = ["a", "b", "_a", "model_dump", "config"]
PATTERNS = ["^a", "b$", r"^\d+$", r"^(?=a)", r"\w", "(?i)a", r"\Ab\Z", "^[^a]*$", "."]
FORMATS = ["date", "date-time", "time", "email", "uuid", "color"]
REFERENCES = ["#/$defs/one", "#/$defs/two", "#/properties/a", "#named"]

values: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 3, -1, 2.5, "", "a", "ab", "b", "1", "2026-01-01", "09:30:00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=5,
)
_counts = st.integers(0, 3)
_names = st.lists(st.sampled_from(NAMES), unique=True, max_size=2)


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": st.sampled_from(KINDS) | st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True),
        "enum": st.lists(values, min_size=1, max_size=3),
        "const": values,
        "minLength": _counts,
        "pattern": st.sampled_from(PATTERNS),
        "format": st.sampled_from(FORMATS),
        "minimum": _counts,
        "items": inner,
        "prefixItems": several,
        "contains": inner,
        "maxContains": st.integers(1, 2),
        "uniqueItems": st.booleans(),
        "maxItems": _counts,
        "properties": st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
        "required": _names,
        "additionalProperties": inner,
        "patternProperties": st.dictionaries(st.sampled_from(PATTERNS), inner, max_size=2),
        "propertyNames": inner,
        "dependentSchemas": st.dictionaries(st.sampled_from(NAMES), inner, max_size=1),
        "dependentRequired": st.dictionaries(st.sampled_from(NAMES), _names, max_size=1),
        "unevaluatedProperties": inner,
        "unevaluatedItems": inner,
        "anyOf": several,
        "oneOf": several,
        "allOf": several,
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
        "$ref": st.sampled_from(REFERENCES),
        "description": st.sampled_from(["Counts.", "It is long. " * 200, "ü" * 2000]),
        "title": st.just("Title"),
        "$comment": st.just("Nobody reads this."),
    }
    picked = st.sets(st.sampled_from(sorted(keywords)), max_size=4)
    return picked.flatmap(lambda keys: st.fixed_dictionaries({key: keywords[key] for key in sorted(keys)}))


_inner: st.SearchStrategy[Any] = st.recursive(st.booleans() | st.just({}), _schemas, max_leaves=6)


@st.composite
def any_schema(draw: st.DrawFn) -> dict[str, Any]:
    """Return a schema with definitions, whose references mostly have a target."""
    schema: dict[str, Any] = draw(_schemas(_inner))
    named = {"$anchor": "named", **draw(_schemas(_inner))}
    definitions = {"one": draw(_inner), "two": named}
    return {**schema, "properties": {"a": draw(_inner), **schema.get("properties", {})}, "$defs": definitions}
