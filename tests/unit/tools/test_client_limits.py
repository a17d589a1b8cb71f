"""The table of what clients refuse: each rule finds its case, and none objects to the pinned tools."""

import json
from pathlib import Path
from typing import Any

import pytest

from dagcall.tools.client_limits import objections
from dagcall.tools.tool import own_tools, wire_json

PINS = sorted((Path(__file__).parents[3] / "tool_schemas").glob("*.json"))


def tool(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a tool with these arguments in wire format."""
    schema = {"type": "object", "properties": properties, **more.pop("schema", {})}
    return {"name": "t", "description": "Does it.", "inputSchema": schema, **more}


@pytest.mark.parametrize("path", PINS, ids=lambda path: path.stem)
def test_every_client_accepts_the_pinned_tools(path: Path) -> None:
    assert list(objections(json.loads(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("own", own_tools(), ids=lambda own: own.name)
def test_every_client_accepts_dagcalls_own_tools(own: Any) -> None:
    assert list(objections(wire_json(own))) == []


@pytest.mark.parametrize(
    ("refused", "objection"),
    [
        pytest.param(tool({}, name="7up"), "Gemini and others refuse its name '7up'", id="tool name"),
        pytest.param(tool({}, description="x" * 1025), "OpenAI refuses a description", id="description of the tool"),
        *(
            pytest.param(
                tool({}, schema={word: [{"type": "object"}]}),
                "Claude and OpenAI refuse an input schema that is not a plain object",
                id=f"{word} at the root",
            )
            for word in ("anyOf", "oneOf", "allOf")
        ),
        pytest.param(
            tool({}, schema={"type": "null"}),
            "Claude and OpenAI refuse an input schema that is not a plain object",
            id="root",
        ),
        pytest.param(
            {"name": "t", "description": "", "inputSchema": {"type": "object"}},
            "Claude and OpenAI refuse an input schema that is not a plain object",
            id="no properties",
        ),
        pytest.param(
            tool({"a": {"type": "object", "properties": {"b": {"anyOf": [True]}}}}),
            "Gemini refuses true or false instead of a schema",
            id="true, deep within",
        ),
        pytest.param(tool({"_x": {"type": "null"}}), "refuses or drops an argument named '_x'", id="_"),
        pytest.param(tool({"config": {"type": "null"}}), "an argument named 'config'", id="reserved"),
        pytest.param(tool({"a": True}), "Gemini refuses true or false instead of a schema", id="true"),
        pytest.param(tool({"a": {}}), "Gemini CLI, Claude Code: refuses a schema without a type", id="untyped"),
        pytest.param(tool({"a": {"type": ["null", "string"]}}), "Semantic Kernel, Gemini: refuses a list", id="types"),
        pytest.param(tool({"a": {"type": "array"}}), "OpenAI, Gemini, VS Code: refuses an array", id="items"),
        pytest.param(
            tool({"a": {"type": "null", "not": {"type": "array"}}}),
            "OpenAI, Gemini, VS Code: refuses an array",
            id="items within not",
        ),
        pytest.param(
            tool({"a": {"type": "string", "pattern": "(?=a)"}}), "CrewAI, OpenAI, ajv: refuses a regular", id="pattern"
        ),
        pytest.param(
            tool({"a": {"type": "object", "patternProperties": {"(?=a)": {"type": "null"}}}}),
            "CrewAI, OpenAI, ajv: refuses a regular",
            id="pattern of keys",
        ),
        pytest.param(
            tool({"a": {"type": "null", "not": {"pattern": r"\d"}}}),
            "CrewAI, OpenAI, ajv: refuses a regular",
            id="pattern within not",
        ),
        pytest.param(tool({"a": {"type": "string", "format": "email"}}), "CrewAI, ajv: refuses a format", id="format"),
        pytest.param(tool({"a": {"$ref": "#/properties/b"}}), "mcpo, Kimi: refuses a reference", id="reference"),
        pytest.param(tool({"a": {"type": "null", "$anchor": "x"}}), "Claude Desktop and others: refuses", id="anchor"),
        pytest.param(
            tool({"a": {"type": "object", "properties": {"_x": {"type": "null"}}}}),
            "CrewAI, mcpo: refuses a key",
            id="key",
        ),
        pytest.param(
            tool({"a": {"type": "null", "description": "\N{GRINNING FACE}" * 513}}),
            "OpenAI: refuses a description",
            id="description of an argument",
        ),
        pytest.param(
            tool(
                {"a": {"$ref": "#/$defs/A"}},
                schema={"$defs": {"A": {"allOf": [{"$ref": "#/$defs/B"}]}, "B": {"anyOf": [{"$ref": "#/$defs/A"}]}}},
            ),
            "LlamaIndex and mcpo follow circular references without end",
            id="loop",
        ),
    ],
)
def test_tool_that_a_client_refuses_causes_an_objection(refused: dict[str, Any], objection: str) -> None:
    (found,) = set(objections(refused))

    assert objection in found
    assert objection == found or not objection.endswith((" end", " schema", " object"))


def test_longest_description_and_finite_references_are_accepted() -> None:
    schema = {"$defs": {"A": {"allOf": [{"$ref": "#/$defs/B"}]}, "B": {"type": "null"}}}

    assert list(objections(tool({"a": {"$ref": "#/$defs/A"}}, description="x" * 1024, schema=schema))) == []


def test_schema_that_only_restricts_a_value_needs_no_type() -> None:
    untyped = {"not": {"anyOf": [{"properties": {"a": {"minimum": 3}}}, True]}}
    schema = {
        "type": "object",
        "not": {"required": ["a"]},
        "if": True,
        "additionalProperties": False,
        "allOf": [{"type": "object", **untyped}],
    }

    assert list(objections(tool({"a": schema}))) == []
