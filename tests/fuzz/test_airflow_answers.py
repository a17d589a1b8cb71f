"""With changed answers from Airflow, a call returns its result or an error, and never starts two runs."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client, MCPError
from mcp_types import INTERNAL_ERROR, CallToolResult, TextContent

from dagcall.app import assembled
from dagcall.settings.settings import Settings
from tests.fake_airflow import NOTSET, FakeAirflow, FakeDag, FakeParam, FakeQuestion, FakeTask
from tests.fuzz.effort import tried, trying
from tests.fuzz.mutations import Mutation, mutated, mutations
from tests.support.virtual_time import LoopClock, VirtualTimeLoop

LONGEST_SECONDS = 300.0
"""No call may take longer, in virtual time."""
RESULTS = {"rows": [{"n": 3}, {"n": 4}]}
"""The result of the last task."""


@dataclass(frozen=True)
class Change:
    """A change applied to some of Airflow's answers."""

    first: int
    """The index of the first changed JSON answer."""
    times: int
    mutation: Mutation


changes = st.builds(Change, st.integers(0, 24), st.sampled_from([1, 2, 4, 1000]), mutations())


class ChangingTransport(httpx.AsyncBaseTransport):
    """Changes the JSON in Airflow's answers, including the lines of `/wait`."""

    def __init__(self, airflow: FakeAirflow, planned: list[Change]) -> None:
        self._airflow = airflow
        self._planned = planned
        self._count = 0
        self.is_over = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async with asyncio.timeout(request.extensions["timeout"]["read"]):
            response = await self._airflow.handle(request)
        kind = response.headers.get("content-type", "")
        if "ndjson" in kind:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            return httpx.Response(response.status_code, headers={"content-type": kind}, stream=_Lines(response, self))
        content = await response.aread()
        if "json" in kind:
            content = self.changed(content)
        headers = {name: value for name, value in response.headers.items() if name.lower() != "content-length"}
        return httpx.Response(response.status_code, headers=headers, content=content)

    def changed(self, content: bytes) -> bytes:
        """Return an answer with the planned changes."""
        number, self._count = self._count, self._count + 1
        for change in self._planned:
            if not self.is_over and change.first <= number < change.first + change.times:
                try:
                    content = json.dumps(mutated(json.loads(content), change.mutation)).encode()
                except (ValueError, RecursionError):  # the value cannot be serialized, or the text is no longer JSON
                    content = content[: len(content) // 2]
        return content


class _Lines(httpx.AsyncByteStream):
    def __init__(self, response: httpx.Response, transport: ChangingTransport) -> None:
        self._response = response
        self._transport = transport

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for line in self._response.aiter_lines():
            yield self._transport.changed(line.encode()) + b"\n"

    async def aclose(self) -> None:
        await self._response.aclose()


class Unhandled(logging.Handler):
    """Collects logged unexpected errors: tracebacks and asyncio's own errors."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or (record.name == "asyncio" and record.levelno >= logging.ERROR):
            self.found.append(logging.Formatter().format(record))


@contextmanager
def nothing_unhandled() -> Iterator[None]:
    """Check that the block logs no unexpected error."""
    handler, root = Unhandled(), logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
    assert not handler.found, "\n".join(handler.found)


def an_airflow(loop: VirtualTimeLoop) -> FakeAirflow:
    airflow = FakeAirflow(clock=LoopClock(loop), steady_streams=True)
    airflow.latency_seconds = 0.01
    x = {"x": FakeParam(NOTSET, type="integer")}
    total = FakeTask("total", lambda params: params["x"] + 1, downstream=["rows"])
    rows = FakeTask("rows", lambda params: [{"n": params["x"]}, {"n": params["x"] + 1}])
    airflow.add_dag(FakeDag("adds", params=x, tasks=[total, rows], seconds=1.0, description="Adds one."))
    airflow.add_dag(FakeDag("fails", params=x, tasks=[FakeTask("breaks", lambda _: 1 / 0)], seconds=1.0))
    airflow.add_dag(FakeDag("asks", params=x, tasks=[FakeTask("ask", question=FakeQuestion("Go on?"))], seconds=1.0))
    return airflow


Tool = Literal["adds", "fails", "asks"]


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult | None:
    """Call a tool; return None for a protocol error, but raise an internal error of dagcall."""
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            return await client.call_tool(tool, arguments)
    except MCPError as error:
        if error.error.code == INTERNAL_ERROR:
            raise
        return None


def judge(tool: Tool, result: CallToolResult | None) -> None:
    """Check that an answer makes no false claim."""
    if result is None:
        return
    text = result.content[0]
    assert isinstance(text, TextContent)
    assert "dagcall failed" not in text.text, text.text
    content = result.structured_content
    if result.is_error or content is None or content.get("state") != "success":
        return
    assert tool == "adds", f"{tool} is reported as successful: {content}"
    assert content["results"] == RESULTS, content


async def try_to_call(planned: list[Change], tool: Tool, *, mode: Literal["auto", "legacy"]) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    airflow = an_airflow(loop)
    transport = ChangingTransport(airflow, planned)
    login = {"url": airflow.url, "username": "admin", "password": "admin"}
    allowed = Settings.model_validate({"airflow": login, "dags": ["*"]})
    async with assembled(allowed, wait_seconds=20, transport=transport, wall_clock=airflow.clock.now) as dagcall:
        await dagcall.catalog.refresh()
        async with Client(dagcall.mcp.sdk, mode=mode) as client:
            await client.list_tools()
            judge(tool, await call(client, tool, x=3))
            transport.is_over = True
            await asyncio.sleep(60)
            await dagcall.catalog.refresh()
            judge(tool, again := await call(client, tool, x=3))
            assert again is not None
            if tool == "adds":
                assert not again.is_error, again.content
    assert len(airflow.runs) <= 2


@pytest.mark.parametrize("tool", ["adds", "fails", "asks"])
def test_changed_answers_lead_to_a_result_or_an_error(tool: Tool) -> None:
    @trying(60)
    @given(st.lists(changes, min_size=1, max_size=2), st.sampled_from(["auto", "legacy"]))
    def try_it(planned: list[Change], mode: Literal["auto", "legacy"]) -> None:
        tried("answers of Airflow")
        with nothing_unhandled(), asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(try_to_call(planned, tool, mode=mode))

    try_it()
