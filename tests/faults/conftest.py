"""One real Airflow for all fault tests; each test has its own proxy and its own dagcall in front of it."""

import asyncio
import itertools
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, cast

import pytest
from mcp import Client
from mcp_types import CallToolResult, RequestParamsMeta

from dagcall.airflow.gate import DEFAULT_CEILING, STREAMING_LIMIT
from dagcall.runs.call import IN_LINE
from tests.faults.fault_proxy import FaultProxy, fault_proxy
from tests.faults.record import ARGUMENTS, Record, until
from tests.support.commands import clean_environ
from tests.support.running_demo import RunningDemo
from tests.support.serving_process import HttpServer, http_server

CALL_SECONDS = 180.0
"""No call in these tests may take longer (I3): less than the 240 s after which every call times out."""

BOTH = """
[[tools]]
dag = "add"

[[tools]]
dag = "held"
"""

Mode = Literal["auto", "legacy"]
TESTS = 1000
"""More than there are: other processes count from another thousand."""
_numbers = itertools.count(1)


@pytest.fixture
async def airflow(demo: RunningDemo) -> AsyncIterator[Record]:
    async with Record(demo.airflow_url, demo.admin_password) as record:
        await record.make_pool("closed", 0)
        await until(lambda: record.has_dag("add"))
        await until(lambda: record.has_dag("held"))
        yield record


@pytest.fixture
async def proxy(airflow: Record) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(airflow.url) as running:
        yield running


@pytest.fixture
def x(worker_id: str) -> int:
    """Return the first of the arguments that no other test uses."""
    process = 0 if worker_id == "master" else int(worker_id.removeprefix("gw"))
    return (process * TESTS + next(_numbers)) * ARGUMENTS


Serve = Callable[..., HttpServer]


@pytest.fixture
def settings(demo: RunningDemo, proxy: FaultProxy, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Return a function that writes settings for the proxied Airflow and returns the environment to use them."""
    airflow = tomllib.loads(demo.config.read_text())["airflow"]

    def write(tools: str = BOTH, **variables: str) -> dict[str, str]:
        path = tmp_path / f"dagcall-{next(_numbers)}.toml"
        path.write_text(
            f"""
            [airflow]
            url = "{proxy.url}"
            username = "{airflow["username"]}"
            password_file = "{demo.folder / airflow["password_file"]}"

            {tools or "[[tools]]" + chr(10) + 'dag = "add"' + chr(10) + "[[tools]]" + chr(10) + 'dag = "held"'}
            """
        )
        return clean_environ(DAGCALL_CONFIG=str(path), **variables)

    return write


@pytest.fixture
async def serve(settings: Callable[..., dict[str, str]], proxy: FaultProxy) -> AsyncIterator[Serve]:
    """Return a function that starts `dagcall serve`; at the end, check that no server overloaded Airflow (I7)."""
    servers: list[HttpServer] = []
    with ExitStack() as running:

        def start(tools: str = BOTH, **variables: str) -> HttpServer:
            servers.append(running.enter_context(http_server(settings(tools, **variables))))
            return servers[-1]

        yield start
        errors = [await asyncio.to_thread(ended, server) for server in servers]
    assert proxy.most_in_flight <= (DEFAULT_CEILING + STREAMING_LIMIT // 2) * len(servers)
    assert not any("Traceback" in text for text in errors), "\n".join(errors)


def ended(server: HttpServer) -> str:
    """Kill a server if it is still running; return its stderr."""
    if server.process.returncode is None:
        server.process.kill()
        return server.ended()[1]
    return "".join(server.errors.said)


async def call(url: str, tool: str, x: int, mode: Mode = "auto", **more: Any) -> CallToolResult:
    """Call a tool over a new connection; `more` is passed to `call_on`."""
    async with asyncio.timeout(CALL_SECONDS), Client(url, mode=mode) as client:
        await client.list_tools()  # as every agent does; otherwise the SDK's client does so after the answer
        return await call_on(client, tool, x, **more)


async def call_on(
    client: Client,
    tool: str,
    x: int,
    *,
    seconds: float = CALL_SECONDS,
    has_run: asyncio.Event | None = None,
    **meta: Any,
) -> CallToolResult:
    """Call a tool.

    Args:
        client: a connected client.
        tool: the tool's name.
        x: the tool's argument.
        seconds: how long the call may take.
        has_run: set once progress reports that the call has a run.
        meta: the call's metadata, such as `wait_seconds`.
    """

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001 - the SDK's signature
        if has_run and message and not message.startswith(IN_LINE):
            has_run.set()

    named = cast("RequestParamsMeta", {f"dagcall/{name}": value for name, value in meta.items()})
    async with asyncio.timeout(seconds):
        return await client.call_tool(
            tool, {"x": x}, meta=named or None, progress_callback=on_progress if has_run else None
        )


async def leave(calling: asyncio.Task[CallToolResult]) -> None:
    """Cancel a call, as a client does when its user stops it or it times out."""
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
