"""Results of several MB are previewed and can be read completely, with the tool and as resources, by every client."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client, MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, ResourceLink, TextContent, TextResourceContents

from tests.support.clients import CONNECTIONS, connected
from tests.support.commands import run_dagcall
from tests.support.plain_http import PLAIN
from tests.support.running_demo import RunningDemo

LONGEST_SECONDS = 240.0
LIMIT = 100_000
RESOURCE_NOT_FOUND = -32002  # before revision 2026-07-28
ROWS = [
    {"id": number, "square": number**2, "name": f"Zeile für {number}", "note": "é" * 30} for number in range(40_000)
]
TEXT = "".join(f'{number}: "über" \\ 東京\n' for number in range(100_000))

every_connection = pytest.mark.parametrize("connection", CONNECTIONS)


def content_of(result: CallToolResult) -> dict[str, Any]:
    """Return the structured content, and check that it equals the first block."""
    text = result.content[0]
    assert isinstance(text, TextContent)
    assert not result.is_error, text.text
    assert len(text.text.encode()) <= LIMIT
    assert json.loads(text.text) == result.structured_content
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def read_with_tool(client: Client, **place: Any) -> dict[str, Any]:
    return content_of(await client.call_tool("read_dag_result", place))


async def read_resource(client: Client, uri: str) -> dict[str, Any]:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    assert len(content.text.encode()) <= LIMIT
    return dict(json.loads(content.text))


@every_connection
async def test_table_of_5_mb_is_read_completely_with_the_tool(
    demo: RunningDemo, connection: str, tmp_path: Path
) -> None:
    rows: list[Any] = []
    async with (
        asyncio.timeout(LONGEST_SECONDS),
        connected(demo, connection, tmp_path / "stderr", allowed="large_*") as client,
    ):
        result = await client.call_tool("large_rows", {})
        answer = content_of(result)
        offset: int | None = 0
        while offset is not None:
            place = {"tool": "large_rows", "dag_run_id": answer["dag_run_id"], "path": "/make_rows", "offset": offset}
            part = await read_with_tool(client, **place)
            rows += part["value"]
            offset = part.get("next_offset")

    assert rows == ROWS
    assert answer["preview"] == {"make_rows": ROWS[:20]}
    assert answer["omitted"] == [{"path": "/make_rows", "what": "items 20 to 39,999 of 40,000"}]
    assert answer["size_bytes"] == len(
        json.dumps({"make_rows": ROWS}, ensure_ascii=False, separators=(",", ":")).encode()
    )
    assert "results" not in answer


@every_connection
async def test_text_of_3_mb_is_read_from_any_offset_as_a_resource(
    demo: RunningDemo, connection: str, tmp_path: Path
) -> None:
    async with (
        asyncio.timeout(LONGEST_SECONDS),
        connected(demo, connection, tmp_path / "stderr", allowed="large_*") as client,
    ):
        result = await client.call_tool("large_text", {})
        answer = content_of(result)
        link = result.content[1]
        assert isinstance(link, ResourceLink)
        assert link.size == answer["size_bytes"]
        whole = await read_resource(client, link.uri)
        parts = [
            await read_resource(client, f"{link.uri}?path=/make_text&offset={offset}")
            for offset in (0, 1_000_001, len(TEXT) - 3)
        ]

    for part in parts:
        end = part.get("next_offset", len(TEXT))
        assert (part["value"], part["total"]) == (TEXT[part["offset"] : end], len(TEXT))
    assert ["next_offset" in part for part in parts] == [True, True, False]
    assert answer["preview"] == whole["value"] == {"make_text": TEXT[:1000]}
    assert answer["omitted"] == whole["omitted"]


@every_connection
async def test_omitted_parts_of_a_deep_object_can_be_read(demo: RunningDemo, connection: str, tmp_path: Path) -> None:
    async with (
        asyncio.timeout(LONGEST_SECONDS),
        connected(demo, connection, tmp_path / "stderr", allowed="deep_object") as client,
    ):
        answer = content_of(await client.call_tool("deep_object", {}))
        place = {"tool": "deep_object", "dag_run_id": answer["dag_run_id"]}
        bottom = await read_with_tool(client, **place, path="/make_tree" + "/a~1b~0c/0" * 40)
        for omitted in answer["omitted"]:
            await read_with_tool(client, **place, path=omitted["path"])

    assert bottom["value"] == {"leaf": "ground", "filling": "x" * 5_000}
    assert answer["preview"]["make_tree"]["level"] == 1


@every_connection
async def test_unknown_runs_and_paths_are_refused(demo: RunningDemo, connection: str, tmp_path: Path) -> None:
    async with (
        asyncio.timeout(LONGEST_SECONDS),
        connected(demo, connection, tmp_path / "stderr", allowed="large_*") as client,
    ):
        answer = content_of(await client.call_tool("large_rows", {"rows": 2}))
        mistaken = await client.call_tool(
            "read_dag_result", {"tool": "large_rows", "dag_run_id": answer["dag_run_id"], "path": "/make_rows/2"}
        )
        strange = await client.call_tool("read_dag_result", {"tool": "large_rows", "dag_run_id": "manual__1"})
        with pytest.raises(MCPError) as refused:
            await client.read_resource("dagcall://runs/large_rows/manual__1/results")

    assert answer["results"] == {"make_rows": ROWS[:2]}
    assert isinstance(mistaken.content[0], TextContent)
    assert mistaken.content[0].text == "path: '/make_rows' is a list and has no item '2'; its items are 0 to 1."
    assert mistaken.is_error
    assert strange.is_error
    assert refused.value.error.code == (INVALID_PARAMS if connection.endswith("2026-07-28") else RESOURCE_NOT_FOUND)


def test_call_command_shows_the_preview_and_reads_the_rest(demo: RunningDemo) -> None:
    def call(*words: str) -> dict[str, Any]:
        done = run_dagcall("call", *words, environ=demo.environ)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    answer = call("large_rows")
    run = f"dag_run_id={answer['dag_run_id']}"
    part = call("read_dag_result", "tool=large_rows", run, "path=/make_rows", "offset=20", "limit=2")

    assert answer["preview"] == {"make_rows": ROWS[:20]}
    assert "read_dag_result" in answer["message"]
    assert part == {"value": ROWS[20:22], "offset": 20, "total": 40_000, "next_offset": 22}


def test_old_client_gets_no_resource_link(demo: RunningDemo) -> None:
    """Revision 2025-06-18 introduced resource links."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "large_rows", "arguments": {}}}
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-03-26"}
    answer = httpx.post(demo.url, json=call, headers=headers, timeout=LONGEST_SECONDS, trust_env=False, verify=PLAIN)
    (line,) = (line for line in answer.text.splitlines() if line.startswith("data: {"))

    assert [block["type"] for block in json.loads(line.removeprefix("data: "))["result"]["content"]] == ["text"]
