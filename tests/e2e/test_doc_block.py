"""The dagcall block in a dag's `doc_md`, read through Airflow's API and checked by a client."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import CONNECTIONS, connected, text_of
from tests.support.commands import run_dagcall
from tests.support.running_demo import RunningDemo


@pytest.mark.parametrize("connection", CONNECTIONS)
async def test_block_is_applied_and_mismatching_results_are_returned(
    demo: RunningDemo, connection: str, tmp_path: Path
) -> None:
    """The client validates structured content against the listed output schema, and raises if it does not match."""
    async with connected(demo, connection, tmp_path / "errors", allowed="doc_block") as client:
        (tool,) = [tool for tool in (await client.list_tools()).tools if tool.name == "doc_block"]
        assert (tool.title, tool.annotations and tool.annotations.read_only_hint) == ("Add up", True)
        assert (tool.description or "").startswith("Add up amounts; as_declared set to false returns text.\n\nThe call")
        assert (tool.output_schema or {})["properties"]["results"] == {
            "type": "object",
            "description": "The return value of each result task, by task id",
            "required": ["add_up"],
            "properties": {"add_up": {"type": "number", "description": "The sum, in EUR."}},
        }

        typed = await client.call_tool("doc_block", {"amounts": [1, 2.5]})
        assert (typed.structured_content or {})["results"] == {"add_up": 3.5}

        other = await client.call_tool("doc_block", {"amounts": [1, 2.5], "as_declared": False})
        assert not other.is_error, text_of(other)
        answer: dict[str, Any] = other.structured_content or {}
        assert answer == json.loads(text_of(other))
        assert "results" not in answer
        assert answer["unexpected_results"] == {"add_up": "3.5 EUR"}
        assert answer["message"].endswith("results.add_up: the value is not of type 'number'")


def test_settings_override_the_block_and_mistakes_are_reported(demo: RunningDemo, tmp_path: Path) -> None:
    entries = """
[[tools]]
dag = "doc_block"
title = "Ours"
annotations = { destructive = true }
output_schema = { properties = { add_up = { type = "array", contains = {}, minContains = 2 } } }

[[tools]]
dag = "mistaken_words"
"""
    config = demo.allowing(tmp_path, entries)
    done = run_dagcall("tools", "--json", "--config", str(config), environ=demo.environ)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    tools = {tool["name"]: tool for tool in found["tools"]}
    assert {name: tool["title"] for name, tool in tools.items()} == {
        "doc_block": "Ours",
        "mistaken_words": "mistaken_words",
    }
    assert tools["doc_block"]["annotations"]["readOnlyHint"] is False
    assert tools["doc_block"]["annotations"]["openWorldHint"] is False
    assert found["withheld"] == [
        {
            "what": "doc_block: its output_schema",
            "reason": "the schema uses minContains, which MCP clients interpret differently. "
            "The tool is published without it",
        },
        {
            "what": "mistaken_words: the dagcall block in its doc_md",
            "reason": "line 5: 'anotations' is not a key of this block; did you mean 'annotations'? "
            "The tool is published without it",
        },
    ]
