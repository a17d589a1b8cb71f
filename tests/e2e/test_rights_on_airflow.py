"""Two callers with their own keys, one `dagcall serve` and a real Airflow: each has its own tools and runs."""

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

import pytest
from mcp import Client, MCPError
from mcp_types import CallToolResult, TextContent

from dagcall.auth.keys import entry_of, new_key
from dagcall.cli.remote import connected
from tests.support.running_demo import RunningDemo
from tests.support.serving_process import HttpServer, http_server

Mode = Literal["auto", "legacy"]
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
CI, ANN = new_key(), new_key()
AT_ONCE: Any = {"dagcall/wait_seconds": 0}
OWN_TOOLS = ["cancel_dag_run", "read_dag_result", "wait_for_dag_run"]
RIGHTS = """
[auth]
keys_file = "keys.toml"

[[tools]]
dag = "factorial"
callers = ["key:ci"]

[[tools]]
dag = "summarize_text"
callers = ["group:writers"]

[[tools]]
dag = "slow_steps"
"""


@pytest.fixture(scope="module")
def server(demo: RunningDemo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """A second dagcall in front of the demo's Airflow, with authentication."""
    folder = tmp_path_factory.mktemp("rights")
    keys = [entry_of(CI, "ci"), entry_of(ANN, "ann", groups=["writers"])]
    (folder / "keys.toml").write_text("\n".join(keys), encoding="utf-8")
    with http_server({**demo.environ, "DAGCALL_CONFIG": str(demo.allowing(folder, RIGHTS))}) as running:
        yield running
        code, errors = running.stop()
        assert code == 0
        assert "Traceback" not in errors
        assert not any(key in errors for key in (CI, ANN))


def connection(server: HttpServer, key: str, mode: Mode) -> AbstractAsyncContextManager[Client]:
    return connected(server.url, key, mode=mode)


async def names(client: Client) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools if tool.name not in OWN_TOOLS]


def content_of(result: CallToolResult) -> Mapping[str, Any]:
    assert isinstance(result.structured_content, dict), result.content
    return result.structured_content


async def refusal(client: Client, name: str, /, **arguments: Any) -> str:
    """Return the message of a refused call."""
    try:
        result = await client.call_tool(name, arguments)
    except MCPError as error:
        return error.error.message
    assert result.is_error
    (text,) = [block.text for block in result.content if isinstance(block, TextContent)]
    return text


@ERAS
async def test_each_caller_lists_and_calls_its_own_tools(demo: RunningDemo, server: HttpServer, mode: Mode) -> None:
    before = len(demo.runs_of("summarize_text"))
    async with connection(server, CI, mode) as ci, connection(server, ANN, mode) as ann:
        assert await names(ci) == ["factorial", "slow_steps"]
        assert await names(ann) == ["slow_steps", "summarize_text"]

        answer = content_of(await ci.call_tool("factorial", {"n": 5}))
        hidden = await refusal(ci, "summarize_text", text="of nobody's concern")
        missing = await refusal(ci, "summarise_tent", text="of nobody's concern")

    assert hidden.replace("summarize_text", "TOOL") == missing.replace("summarise_tent", "TOOL")
    assert len(demo.runs_of("summarize_text")) == before
    with demo.rest() as http:
        run = http.get(f"/dags/factorial/dagRuns/{answer['dag_run_id']}").raise_for_status().json()
    assert run["note"].startswith("Called through MCP (dagcall) as tool factorial (request ")
    assert ") by ci (key:ci) with " in run["note"]
    assert run["triggering_user_name"] == "agent"
    assert "ci" not in json.dumps(run["conf"])


@ERAS
async def test_caller_cannot_reach_the_run_of_another(demo: RunningDemo, server: HttpServer, mode: Mode) -> None:
    async with connection(server, CI, mode) as ci, connection(server, ANN, mode) as ann:
        started = content_of(await ci.call_tool("slow_steps", {"batches": 1}, meta=AT_ONCE))
        run_id = str(started["dag_run_id"])
        unknown = f"{run_id[:-1]}{'9' if run_id[-1] != '9' else '8'}"

        async def refusals(run: str) -> list[str]:
            found = [await refusal(ann, name, tool="slow_steps", dag_run_id=run) for name in OWN_TOOLS]
            with pytest.raises(MCPError) as refused:
                await ann.read_resource(f"dagcall://runs/slow_steps/{run}/results")
            return [text.replace(run, "RUN") for text in (*found, refused.value.error.message)]

        assert started["state"] == "running"
        assert await refusals(run_id) == await refusals(unknown)
        assert demo.runs_of("slow_steps")[run_id] in {"queued", "running"}

        handle = {"tool": "slow_steps", "dag_run_id": run_id}
        ended = content_of(await ci.call_tool("wait_for_dag_run", handle))
        assert await refusals(run_id) == await refusals(unknown)
        read = content_of(await ci.call_tool("read_dag_result", handle))

        mine = content_of(await ann.call_tool("slow_steps", {"batches": 1}, meta=AT_ONCE))

    assert ended["state"] == "success"
    assert read["value"] == ended["results"]
    assert mine["dag_run_id"] != run_id
