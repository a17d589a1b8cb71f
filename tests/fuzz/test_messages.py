"""Almost valid MCP messages get a protocol answer, and the server keeps running."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake_airflow import FakeAirflow, FakeDag, FakeParam, FakeTask
from tests.fake_airflow.serving import WallClock, served
from tests.fuzz.effort import tried, trying
from tests.fuzz.mutations import Mutation, mutated, mutations
from tests.support.plain_http import PLAIN
from tests.support.serving_process import (
    LEGACY,
    MODERN,
    HttpServer,
    Message,
    StdioServer,
    environ_for,
    headers,
    http_server,
    request,
    stdio_server,
)

LONGEST_SECONDS = 30.0
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("tools/call", {"name": "adds", "arguments": {"n": 1}}),
    ("tools/call", {"name": "read_dag_result", "arguments": {"tool": "adds", "dag_run_id": "mcp__x", "path": "/a"}}),
    ("tools/list", {"cursor": "x"}),
    ("resources/read", {"uri": "dagcall://runs/adds/mcp__x/results"}),
    ("ping", {}),
    ("server/discover", {}),
    ("initialize", {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}),
    ("tasks/get", {"taskId": "x"}),
    ("subscriptions/listen", {"notifications": {"toolsListChanged": True}}),
    ("notifications/cancelled", {"requestId": 1, "reason": "x"}),
]
#: These requests stay open until there is an event.
OPEN = {"subscriptions/listen"}
revisions = pytest.mark.parametrize("revision", [MODERN, LEGACY])
any_change = st.lists(mutations(), min_size=1, max_size=2)
any_message = st.tuples(st.sampled_from(REQUESTS), any_change)
#: Over stdio a handshake, even an accidental one, applies to the whole connection.
no_handshake = st.tuples(st.sampled_from([(m, params) for m, params in REQUESTS if m != "initialize"]), any_change)
odd_headers = st.dictionaries(
    st.sampled_from(["Mcp-Method", "Mcp-Name", "MCP-Protocol-Version", "Content-Type", "Accept", "Mcp-Session-Id"]),
    st.sampled_from(["", "x", "tools/call", "2025-06-18", "2026-07-28, 2025-11-25", "text/plain", "application/json"]),
    max_size=2,
)


@pytest.fixture
def environ() -> Iterator[dict[str, str]]:
    airflow = FakeAirflow(clock=WallClock())
    airflow.add_dag(FakeDag("adds", params={"n": FakeParam(1, type="integer")}, tasks=[FakeTask("back", list)]))
    with served(airflow) as url:
        yield environ_for(url, DAGCALL_SERVER_WAIT_SECONDS="2")


def written(message: Mapping[str, Any], changes: list[Mutation]) -> str | None:
    """Serialize a message with these changes; None if that is impossible."""
    try:
        return json.dumps(mutated(message, *changes))
    except (ValueError, RecursionError):
        return None


def require_alive(server: HttpServer | StdioServer, answer: Message) -> None:
    assert "adds" in [tool["name"] for tool in answer["result"]["tools"]]
    code, errors = server.stop()
    assert code == 0
    assert "Traceback" not in errors, errors


@revisions
def test_any_message_over_http_gets_an_answer(environ: dict[str, str], revision: str) -> None:
    with http_server(environ) as server, httpx.Client(trust_env=False, verify=PLAIN, timeout=LONGEST_SECONDS) as http:
        server.ask(revision, "tools/list")

        @trying(80)
        @given(any_message, odd_headers)
        def try_it(chosen: tuple[tuple[str, dict[str, Any]], list[Mutation]], odd: dict[str, str]) -> None:
            tried("messages over HTTP")
            (method, params), changes = chosen
            message = request(revision, 1, method, params)
            text = written(message, changes)
            if text is None:
                return
            own = {"Content-Type": "application/json"} | headers(revision, message) | odd
            with http.stream("POST", server.url, content=text.encode(), headers=own) as answer:
                assert answer.status_code < 500, text
                if method not in OPEN:
                    require_an_answer(answer.headers.get("content-type", ""), answer.read().decode())

        try_it()
        require_alive(server, server.ask(revision, "tools/list"))


def require_an_answer(content_type: str, body: str) -> None:
    """Check that the body is JSON-RPC, a text error, or empty, as for a notification."""
    if content_type.startswith("application/json") and body:
        assert isinstance(json.loads(body), dict | list)
    elif content_type.startswith("text/event-stream"):
        for line in body.split("\n"):
            if line.startswith("data: {"):
                json.loads(line.removeprefix("data: "))


@revisions
def test_any_message_over_stdio_keeps_the_server_running(environ: dict[str, str], revision: str) -> None:
    with stdio_server(environ) as server:
        server.hello(revision)
        # The first message decides the era of the connection, so it is not changed.
        server.send(request(revision, 123_456, "tools/list", {}))
        while server.receive().get("id") != 123_456:
            pass

        @trying(80)
        @given(no_handshake)
        def try_it(chosen: tuple[tuple[str, dict[str, Any]], list[Mutation]]) -> None:
            tried("messages over stdio")
            (method, params), changes = chosen
            text = written(request(revision, 1, method, params), changes)
            if text is not None:
                assert server.process.stdin is not None
                server.process.stdin.write(text + "\n")
                server.process.stdin.flush()

        try_it()
        server.send(request(revision, 987_654, "tools/list", {}))
        while (received := server.receive()).get("id") != 987_654:
            pass
        require_alive(server, received)
