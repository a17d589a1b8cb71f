"""Published schemas: every client accepts them, and they accept all values that the author's schema accepts."""

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dagcall.airflow.model import Dag, DagSummary, Param
from dagcall.errors import ToolUnpublishable
from dagcall.tools.client_limits import objections
from dagcall.tools.input_schema import InputSchema
from dagcall.tools.policy import ToolPolicy
from dagcall.tools.shapes import any_value
from dagcall.tools.tool import tool_from_dag, wire_json
from tests.support.any_schemas import any_schema, values

SUMMARY = DagSummary("d", frozenset(), is_paused=False, is_stale=False, has_import_errors=False, allowed_run_types=None)


def lists_within_lists(value: Any) -> int:
    """Return the greatest number of lists nested directly within each other."""
    if isinstance(value, dict):
        return max(map(lists_within_lists, value.values()), default=0)
    if not isinstance(value, list):
        return 0
    return max(1 + (lists_within_lists(item) if isinstance(item, list) else 0) for item in [*value, None])


def published(schema: dict[str, Any], *more: Param) -> dict[str, Any]:
    """Return the input schema of a dag with a param of this schema."""
    return InputSchema.from_params((Param("p", None, schema, None), *more)).wire


def p(schema: dict[str, Any], value: Any = None) -> dict[str, Any]:
    """Return the published schema of a param."""
    found = InputSchema.from_params((Param("p", value, schema, None),)).wire["properties"]["p"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("schema", "shape"),
    [
        pytest.param(
            {"type": ["null", "string"], "maxLength": 5, "title": "T"},
            {"title": "T", "anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}]},
            id="a list of types",
        ),
        pytest.param({"type": ["string"]}, {"type": "string"}, id="a list of one type"),
        pytest.param({"type": ["integer", "number"]}, {"type": "number"}, id="whole numbers are numbers"),
        pytest.param(
            {"type": ["array", "null"], "items": {"type": "integer"}, "minItems": 1},
            {"anyOf": [{"type": "array", "items": {"type": "integer"}, "minItems": 1}, {"type": "null"}]},
            id="items stay with the array",
        ),
        pytest.param(
            {"type": ["object", "null"], "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {
                "anyOf": [{"anyOf": [{"type": "object", "required": [name]}, {"type": "null"}]} for name in ("a", "b")],
                "allOf": [{"anyOf": [{"type": "object"}, {"type": "null"}]}],
            },
            id="a list of types beside anyOf",
        ),
        pytest.param(
            {"enum": ["a", None, 1, 2.5]},
            {
                "anyOf": [
                    {"type": "string", "enum": ["a"]},
                    {"type": "number", "enum": [1, 2.5]},
                    {"type": "null"},
                ]
            },
            id="values of several types",
        ),
        pytest.param({"type": ["string", "null"], "const": None}, {"type": "null"}, id="a constant null"),
        pytest.param(
            {"type": "string", "not": {"type": "array"}, "if": {"type": "array", "items": True}},
            {"type": "string", "not": {"type": "array", "items": {}}, "if": {"type": "array", "items": {}}},
            id="items of an array that only restricts",
        ),
        pytest.param(
            {"type": "string", "not": {"type": "array", "unevaluatedItems": {"type": "null"}}},
            {"type": "string"},
            id="items that unevaluatedItems would not see any more",
        ),
        pytest.param(
            {"anyOf": [{"type": "null"}, {"type": "string", "enum": [1]}]},
            {"anyOf": [{"type": "null"}, {"type": "string", "enum": [1]}]},
            id="values that do not fit",
        ),
        pytest.param(
            {"type": ["null", "string"], "format": "time", "description": "When."},
            {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "When. A time as HH:MM:SS."},
            id="a time",
        ),
        pytest.param(
            {"type": ["null", "string"], "format": "email"},
            {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "Format: email."},
            id="another format",
        ),
        pytest.param(
            {"type": ["null", "string"], "pattern": r"(?i)^\d\u200b", "format": "date"},
            {
                "anyOf": [{"type": "string", "format": "date"}, {"type": "null"}],
                "description": r"Must match the regular expression (?i)^\d\u200b",
            },
            id="a pattern as text",
        ),
        pytest.param(
            {"not": {"pattern": r"\w"}, "if": {"format": "email"}, "then": {"type": "null"}, "type": "null"},
            {"type": "null"},
            id="a negated constraint is omitted",
        ),
        pytest.param(
            {
                "anyOf": [{"type": "null"}],
                "oneOf": [{"type": "null", "not": {"pattern": r"\w"}}],
                "allOf": [{"type": "null"}, False],
                "items": True,
                "unevaluatedItems": False,
            },
            {"anyOf": [{"type": "null"}], "allOf": [{"anyOf": [{"type": "null"}]}, {"type": "null"}]},
            id="everything at once",
        ),
        pytest.param({"anyOf": [False], "type": "null"}, {"type": "null"}, id="nothing that fits"),
        pytest.param(
            {"type": "null", "oneOf": [True, {"allOf": [False, True]}, {"properties": {"a": False}}]},
            {"type": "null", "anyOf": [{"type": "null"}, {"allOf": [{"type": "null"}]}, {"type": "null"}]},
            id="a schema that nothing matches is omitted",
        ),
        pytest.param(
            {"anyOf": [{"type": "null"}], "items": False, "properties": {"a": True}},
            {"anyOf": [{"type": "null"}], "maxItems": 0, "properties": {"a": any_value()}},
            id="for values of one kind only",
        ),
        pytest.param(
            {"type": "null", "if": {"type": "null"}, "then": True, "else": {"type": ["null", "string"]}},
            {
                "type": "null",
                "if": {"type": "null"},
                "then": {},
                "else": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            id="a condition that stays as it is",
        ),
        pytest.param(
            {"oneOf": [{"type": "string", "pattern": r"\w"}, {"type": "null"}]},
            {
                "anyOf": [
                    {"type": "string", "description": r"Must match the regular expression \w"},
                    {"type": "null"},
                ]
            },
            id="oneOf with a widened member becomes anyOf",
        ),
        pytest.param(
            {
                "type": ["object", "null"],
                "properties": {"_id": {"type": "string"}, "n": {"type": "null"}, "model_dump": True, "no": False},
                "required": ["_id", "n"],
                "patternProperties": {r"\w": {"type": "null"}, r"^\d": {"type": "null"}},
                "additionalProperties": False,
                "propertyNames": {"pattern": "^[a-z]"},
                "dependentSchemas": {"n": {"required": ["m"]}},
            },
            {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"n": {"type": "null"}},
                        "required": ["n"],
                        "patternProperties": {"^[0-9]": {"type": "null"}},
                        "propertyNames": {"pattern": "^[a-z]"},
                        "dependentSchemas": {"n": {"required": ["m"]}},
                    },
                    {"type": "null"},
                ],
                "description": r"Also accepts _id, model_dump. Keys may match \w.",
            },
            id="keys that confuse clients",
        ),
        pytest.param(
            {
                "type": ["null", "array"],
                "contains": {"pattern": r"\w"},
                "maxContains": 1,
                "unevaluatedItems": False,
            },
            {
                "anyOf": [
                    {
                        "type": "array",
                        "items": any_value(1),
                        "contains": {"description": r"Must match the regular expression \w"},
                    },
                    {"type": "null"},
                ]
            },
            id="maxContains of a widened schema",
        ),
    ],
)
def test_schema_is_published_in_a_common_shape(schema: dict[str, Any], shape: dict[str, Any]) -> None:
    assert p(schema) == shape


NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "n": {"type": "integer"}}}


def test_recursive_reference_is_replaced_by_a_description() -> None:
    wire = published({"$ref": "#/$defs/Node", "$defs": {"Node": NODE}})

    assert wire["properties"]["p"] == {"$ref": "#/$defs/Node"}
    assert wire["$defs"] == {
        "Node": {
            "type": "object",
            "properties": {
                "next": {"type": "object", "description": "Recursive: same schema as Node."},
                "n": {"type": "integer"},
            },
        }
    }


def test_reference_to_a_widened_schema_is_widened_too() -> None:
    definitions = {
        "Code": {"type": "string", "pattern": r"\w"},
        "Codes": {"type": "array", "items": {"$ref": "#/$defs/Code"}},
    }
    forms = [{"$ref": "#/$defs/Codes"}, {"type": "null"}]

    wire = published({"type": "null", "not": {"$ref": "#/$defs/Codes"}, "oneOf": forms, "$defs": definitions})

    assert wire["properties"]["p"] == {"type": "null", "anyOf": forms}


def test_references_of_every_kind_point_to_definitions_at_the_root() -> None:
    points = [{"type": "object", "properties": {"x": {"type": kind}}} for kind in ("integer", "number")]
    shapes = {
        "type": ["null", "object"],
        "properties": {
            "start/end": {"$ref": "#/$defs/Point"},
            "other": {"$ref": "#/properties/start~1end"},
            "root": {"type": "array", "items": {"$ref": "#"}},
            "way": {"$ref": "#way"},
            "first": {"$ref": "#/anyOf/0"},
            "plain": {"discriminator": {"propertyName": "kind"}, "type": "null"},
            "shape": {
                "oneOf": [{"$ref": "#/$defs/Point"}],
                "discriminator": {"propertyName": "kind", "mapping": {"p": "#/$defs/Point", "q": "#/nowhere"}},
            },
        },
        "anyOf": [{"title": "First", "type": ["object", "null"]}],
        "$defs": {"Point": points[0], "Unused": {"type": "null"}, "Way": {"$anchor": "way", "type": "string"}},
    }
    other = Param(
        "q", None, {"type": ["null", "array"], "items": {"$ref": "#/$defs/Point"}, "$defs": {"Point": points[1]}}, None
    )

    wire = published(shapes, other)

    Draft202012Validator.check_schema(wire)
    branch = wire["properties"]["p"]["allOf"][0]["anyOf"][0]
    assert branch["properties"]["start/end"] == {"$ref": "#/$defs/Point"}
    assert branch["properties"]["other"] == {"$ref": "#/$defs/start_1end"}
    assert branch["properties"]["first"] == {"$ref": "#/$defs/p_0"}
    assert branch["properties"]["plain"]["discriminator"] == {"propertyName": "kind"}
    assert branch["properties"]["way"] == {"$ref": "#/$defs/way"}
    assert branch["properties"]["root"]["items"] == {"$ref": "#/$defs/p"}
    assert branch["properties"]["shape"]["discriminator"]["mapping"] == {"p": "#/$defs/Point"}
    assert wire["$defs"]["Point"] == points[0]
    assert wire["properties"]["q"]["anyOf"][0]["items"] == {"$ref": "#/$defs/q_Point"}
    assert wire["$defs"]["q_Point"] == points[1]
    assert "Unused" not in wire["$defs"]


@pytest.mark.parametrize("text", ["Counts things. " * 100, "word " * 300, "\N{GRINNING FACE}" * 600])
def test_long_description_is_shortened_but_its_additions_are_not(text: str) -> None:
    described = p({"type": ["null", "string"], "format": "time", "description": text})["description"]

    assert described.endswith("… A time as HH:MM:SS.")
    assert len(described.encode("utf-16-le")) // 2 <= 1024


@pytest.mark.untraced
@settings(max_examples=100, deadline=None)
@given(any_schema(), values)
def test_every_client_accepts_every_published_schema(schema: dict[str, Any], default: Any) -> None:
    dag = Dag(SUMMARY, None, (Param("p", default, schema, None),))
    try:
        tool = tool_from_dag(dag, ToolPolicy(dag="d"))
    except ToolUnpublishable as reason:
        assert "could make a client lose" not in str(reason)  # noqa: PT017 - it may be withheld for other reasons
        assume(False)  # noqa: FBT003 - tells hypothesis to try another example
    assert list(objections(wire_json(tool.wire))) == []


@pytest.mark.untraced
@settings(max_examples=100, deadline=None)
@given(any_schema(), st.lists(values, max_size=6))
def test_published_schema_accepts_what_the_authors_schema_accepts(schema: dict[str, Any], sent: list[Any]) -> None:
    try:
        wire = published(schema)
    except ToolUnpublishable:
        assume(False)  # noqa: FBT003
    authors, ours = Draft202012Validator(schema), Draft202012Validator(wire)
    for value in sent:
        try:
            is_accepted = authors.is_valid(value)
        except RecursionError:
            continue
        if is_accepted and lists_within_lists(value) <= 2:
            assert [error.message for error in ours.iter_errors({"p": value})] == [], value
