"""Declared output schemas: how they are published, which cannot be, and which results do not match."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dagcall.errors import ToolUnpublishable
from dagcall.tools.json_schema import MAX_SCHEMA_BYTES
from dagcall.tools.keywords import JsonObject
from dagcall.tools.output_schema import OutputSchema, cancel_output_schema, output_schema, part_output_schema

PINS = Path(__file__).parents[3] / "tool_schemas"

REPORT: dict[str, Any] = {
    "properties": {
        "report": {
            "type": "object",
            "properties": {"total": {"type": "number"}, "rows": {"type": "array", "items": {"$ref": "#/$defs/Row"}}},
            "required": ["total"],
        }
    },
    "required": ["report"],
    "$defs": {
        "Row": {"type": "object", "required": ["name"], "additionalProperties": False, "properties": {"name": {}}}
    },
}


def deep_schema(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


def test_definition_with_an_invalid_name_is_named_after_the_results() -> None:
    schema = OutputSchema.from_declared({"properties": {"t": {"$ref": "#/$defs/1"}}, "$defs": {"1": {"type": "null"}}})

    assert schema.wire["properties"]["results"]["properties"] == {"t": {"$ref": "#/$defs/results_1"}}
    assert schema.wire["$defs"] == {"results_1": {"type": "null"}}


def test_schema_of_the_maximum_size_is_published() -> None:
    assert published({"title": "x" * (MAX_SCHEMA_BYTES - 13)})


def published(declared: dict[str, Any]) -> Any:
    """Return the published schema of the results."""
    return OutputSchema.from_declared(declared).wire["properties"]["results"]


@pytest.mark.parametrize("schema", [output_schema(), output_schema({"type": "object"}), cancel_output_schema()])
def test_every_output_schema_is_a_valid_object_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert schema["required"] == ["state", "dag_run_id", "url"]


@pytest.mark.parametrize(
    ("tool", "schema"),
    [
        ("wait_for_dag_run", output_schema),
        ("cancel_dag_run", cancel_output_schema),
        ("read_dag_result", part_output_schema),
    ],
)
def test_output_schemas_of_dagcalls_own_tools_match_their_pins(tool: str, schema: Callable[[], JsonObject]) -> None:
    assert schema() == json.loads((PINS / f"{tool}.json").read_text(encoding="utf-8"))["outputSchema"]


def test_any_result_matches_without_a_declared_schema() -> None:
    assert OutputSchema(output_schema()).problem({"t": [None, 1, {"x": "y"}]}) is None
    assert "unexpected_results" not in output_schema()["properties"]


def test_declared_schema_is_part_of_the_tools_output_schema() -> None:
    schema = OutputSchema.from_declared(REPORT)

    assert schema.wire["properties"]["results"] == {
        "type": "object",
        "description": "The return value of each result task, by task id",
        "required": REPORT["required"],
        "properties": {
            "report": {
                "type": "object",
                "properties": {
                    "total": {"type": "number"},
                    "rows": {"type": "array", "items": {"$ref": "#/$defs/Row"}},
                },
                "required": ["total"],
            }
        },
    }
    assert schema.wire["$defs"] == REPORT["$defs"]
    assert schema.wire["properties"]["unexpected_results"] == {
        "type": "object",
        "description": "Instead of results, if they do not match the declared schema",
    }


@pytest.mark.parametrize(
    ("results", "problem"),
    [
        ({"report": {"total": 1.5, "rows": [{"name": "West"}]}}, None),
        ({"report": {"total": "1.5"}}, "results.report.total: the value is not of type 'number'"),
        (
            {"report": {"total": 1, "rows": [{"name": "a"}, {}]}},
            "results.report.rows[1]: 'name' is a required property",
        ),
        (
            {"report": {"total": 1, "rows": [{"name": "a", "x": 1}]}},
            "results.report.rows[0]: Additional properties are not allowed ('x' was unexpected)",
        ),
        ({"report": None}, "results.report: the value is not of type 'object'"),
        ({}, "results: 'report' is a required property"),
    ],
)
def test_a_mismatch_is_reported_with_its_path_but_not_the_value(results: dict[str, Any], problem: str | None) -> None:
    schema = OutputSchema.from_declared(REPORT, task_ids=("report", "other"))

    assert schema.problem(results) == problem
    # Clients reach the same verdict.
    answer = {"state": "success", "dag_run_id": "r", "url": "u", "results": results}
    assert Draft202012Validator(schema.wire).is_valid(answer) is (problem is None)


def test_results_nested_too_deeply_to_validate_do_not_match() -> None:
    tree = {"$defs": {"Tree": {"items": {"$ref": "#/$defs/Tree"}}}, "properties": {"t": {"$ref": "#/$defs/Tree"}}}
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]

    assert (
        OutputSchema.from_declared(tree).problem({"t": deep}) == "results: nested too deeply or too large to validate"
    )


@pytest.mark.parametrize(
    ("declared", "as_published"),
    [
        pytest.param(
            {"type": "string", "format": "date-time"},
            {"type": "string", "description": "Format: date-time."},
            id="format",
        ),
        pytest.param(
            {"type": "string", "description": "The sku.", "pattern": "^[A-Z]{3}$"},
            {"type": "string", "description": "The sku. Pattern: ^[A-Z]{3}$."},
            id="pattern",
        ),
        pytest.param(
            {"title": "A\u200b", "nullable": True, "x-mcp-header": "h", "$comment": "c"},
            {"title": "A"},
            id="unknown keywords and invisible characters",
        ),
        pytest.param(
            {"type": "array", "prefixItems": [{"type": "string"}, True], "items": False},
            {"type": "array", "prefixItems": [{"type": "string"}, True], "maxItems": 2},
            id="a tuple",
        ),
        pytest.param(
            {"prefixItems": [True], "items": False, "maxItems": 0}, {"prefixItems": [True], "maxItems": 0}, id="none"
        ),
        pytest.param({"type": "array"}, {"type": "array", "items": {}}, id="an array of anything"),
        pytest.param(
            {"properties": {"format": {"type": "string"}, "pattern": True}},
            {"properties": {"format": {"type": "string"}, "pattern": True}},
            id="properties that are named like keywords",
        ),
    ],
)
def test_schema_is_published_in_a_form_that_all_clients_read_alike(
    declared: dict[str, Any], as_published: dict[str, Any]
) -> None:
    assert published({"properties": {"t": declared}})["properties"]["t"] == as_published


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"type": "array"}, "the schema describes the results by task id, so its type must be 'object'"),
        ({"properties": 3}, "the schema is not valid JSON Schema 2020-12: 3 is not of type 'object'"),
        (
            {"properties": {"total": {}}},
            "the schema has a property 'total', which is not a result task; there are report",
        ),
        ({"default": float("nan")}, "the schema contains a date, a time or a number that JSON cannot represent"),
        ({"description": "x" * (MAX_SCHEMA_BYTES - 18)}, "the schema is larger than 65,536 bytes"),
        ({"$ref": "http://x/y.json"}, "the schema refers to http://x/y.json; only internal references"),
        ({"$ref": "#/$defs/X"}, "the schema refers to #/$defs/X, which does not exist"),
        ({"$ref": "#"}, "the schema is nested too deeply or refers to itself without end"),
        (deep_schema(500), "the schema is nested too deeply or refers to itself without end"),
        (deep_schema(50), "the schema is nested more than 40 levels deep"),
        ({"additionalProperties": {"$dynamicRef": "#x"}}, "the schema uses $dynamicRef, which MCP clients do not"),
        (
            {"patternProperties": {"^x": {}}},
            "the schema uses patternProperties, which MCP clients interpret differently",
        ),
        ({"prefixItems": [True], "items": {}}, "the schema uses items with prefixItems, which MCP clients"),
    ],
)
def test_unpublishable_schema_gives_the_reason(declared: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ToolUnpublishable) as refusal:
        OutputSchema.from_declared(declared, task_ids=("report",))

    assert str(refusal.value).startswith(sentence)
