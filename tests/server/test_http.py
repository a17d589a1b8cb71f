"""Streamable HTTP: dagcall's layers between the network and the SDK, tested with raw requests."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dagcall.app import Dagcall
from dagcall.cli.serve import http_app, metadata_routes
from dagcall.mcp.handshake import name_in, session_id_of
from dagcall.mcp.line_ends import with_escaped_line_ends
from dagcall.settings.auth import AuthSettings
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask
from tests.server.test_calls import add
from tests.support.in_memory import Served

SEPARATORS = "\u0085\u2028\u2029"
HANDSHAKE_REVISIONS = ("2025-03-26", "2025-06-18", "2025-11-25")


@asynccontextmanager
async def connected(dagcall: Dagcall) -> AsyncIterator[httpx.AsyncClient]:
    """Connect to dagcall's HTTP app as `dagcall serve` builds it, without a network."""
    app = http_app(dagcall, host_names=["dagcall.test"], routes=[])
    async with (
        asyncio.timeout(10),
        dagcall.mcp.sdk.session_manager.run(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://dagcall.test") as http,
    ):
        yield http


ids = itertools.count(1)


async def post(
    http: httpx.AsyncClient, method: str, params: dict[str, Any], *, revision: str | None = None, session: str = ""
) -> httpx.Response:
    headers = {"Accept": "application/json, text/event-stream"}
    headers |= {"MCP-Protocol-Version": revision} if revision else {}
    headers |= {"Mcp-Session-Id": session} if session else {}
    body = {"jsonrpc": "2.0", "id": next(ids), "method": method, "params": params}
    answer = await http.post("/mcp", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


async def shake_hands(http: httpx.AsyncClient, revision: str, client: Any) -> httpx.Response:
    return await post(
        http, "initialize", {"protocolVersion": revision, "capabilities": {}, "clientInfo": client}, revision=None
    )


def event_of(answer: httpx.Response) -> dict[str, Any]:
    """Read an answer's only event as lax clients do: every Unicode line separator ends a line."""
    (data,) = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    found: dict[str, Any] = json.loads(data)
    return found


# Client names


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
async def test_client_name_from_the_handshake_is_noted_by_any_replica(served: Served, revision: str) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    replica: dict[str, Any] = {"server": {"secret": "s" * 32}, "dags": ["*"]}
    async with (
        served(airflow, **replica) as one,
        served(airflow, **replica) as two,
        connected(one) as first,
        connected(two) as second,
    ):
        session = (await shake_hands(first, revision, {"name": "Old (client)", "version": "1.2"})).headers[
            "mcp-session-id"
        ]
        await post(second, "tools/call", {"name": "add", "arguments": {"x": 1}}, revision=revision, session=session)

    assert session.isascii()
    assert session.isprintable()
    assert " by Old [client] 1.2 [" in (airflow.runs[0].note or "")


async def test_session_ids_are_unique_and_foreign_ones_are_ignored(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    async with served(airflow) as dagcall, connected(dagcall) as http:
        sessions = {
            (await shake_hands(http, "2025-06-18", {"name": "old", "version": "1"})).headers["mcp-session-id"]
            for _ in range(3)
        }
        for session in ("3f2a9c1b", ".", ".%%%", ".gA"):
            call = {"name": "add", "arguments": {"x": next(ids)}}
            await post(http, "tools/call", call, revision="2025-06-18", session=session)

    assert len(sessions) == 3
    assert all(" by an unnamed client [" in (run.note or "") for run in airflow.runs)
    assert len(airflow.runs) == 4


@pytest.mark.parametrize("name", ["Claude 1", "クライアント", "x" * 400, "a\n\u202eb [c]"])
def test_name_survives_the_round_trip_through_its_session_id(name: str) -> None:
    found = name_in(session_id_of(name))
    assert found is not None
    assert found == name_in(session_id_of(found))
    assert len(found) <= 100
    assert found.isprintable()


async def test_client_name_in_meta_is_noted_with_an_old_revision_header(served: Served) -> None:
    """Some clients send the header of one revision and the envelope of another."""
    airflow = FakeAirflow()
    airflow.add_dag(add())
    meta = {"io.modelcontextprotocol/clientInfo": {"name": "relay", "version": "7"}}
    async with served(airflow) as dagcall, connected(dagcall) as http:
        await post(http, "tools/call", {"name": "add", "arguments": {"x": 1}, "_meta": meta}, revision="2025-11-25")

    assert " by relay 7 [" in (airflow.runs[0].note or "")


@pytest.mark.parametrize("client", [None, "x", {}, {"name": 3}, {"name": "", "version": ""}])
async def test_client_without_a_name_gets_no_session_id(served: Served, client: Any) -> None:
    async with served(FakeAirflow()) as dagcall, connected(dagcall) as http:
        answer = await shake_hands(http, "2025-06-18", client)
    assert "mcp-session-id" not in answer.headers


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"method":"initialize","params":3}', b"[" * 100_000, b" " * 70_000]
)
async def test_unparsable_body_is_left_to_the_sdk(served: Served, body: bytes) -> None:
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    async with served(FakeAirflow()) as dagcall, connected(dagcall) as http:
        answer = await http.post("/mcp", content=body, headers=headers)
    assert answer.status_code == 400
    assert "mcp-session-id" not in answer.headers


async def test_get_stream_is_refused(served: Served) -> None:
    async with served(FakeAirflow()) as dagcall, connected(dagcall) as http:
        answer = await http.get("/mcp", headers={"Accept": "text/event-stream", "MCP-Protocol-Version": "2025-06-18"})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


# Line ends


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
async def test_unicode_line_separators_are_escaped_in_events(served: Served, revision: str) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("echo", tasks=[FakeTask("it", lambda _: f"a{SEPARATORS}b\n\u00e2\u0080é")]))
    async with served(airflow) as dagcall, connected(dagcall) as http:
        answer = await post(http, "tools/call", {"name": "echo", "arguments": {}}, revision=revision)

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert not set(SEPARATORS) & set(answer.text)
    result = event_of(answer)["result"]
    text = result["content"][0]["text"] if revision < "2025-06-18" else json.dumps(result["structuredContent"])
    assert json.loads(text)["results"] == {"it": f"a{SEPARATORS}b\n\u00e2\u0080é"}


def streaming(*parts: bytes, content_type: bytes) -> ASGIApp:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", content_type)]})
        for number, part in enumerate(parts, 1):
            await send({"type": "http.response.body", "body": part, "more_body": number < len(parts)})

    return app


async def sent(app: ASGIApp) -> bytes:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    async def receive() -> Message:
        raise AssertionError

    await app({"type": "http"}, receive, send)
    return b"".join(message.get("body", b"") for message in messages)


CUTS: list[Callable[[bytes], list[bytes]]] = [
    lambda whole: [whole],
    lambda whole: [whole[i : i + 1] for i in range(len(whole))],
    lambda whole: [whole[:2], whole[2:5], whole[5:]],
]


@pytest.mark.parametrize("cut", CUTS, ids=["whole", "byte by byte", "in the middle"])
async def test_separator_split_across_chunks_is_escaped(cut: Callable[[bytes], list[bytes]]) -> None:
    whole = "é\u0085€\u2028\u2029\u2030𝄞Â".encode()
    app = streaming(*cut(whole), content_type=b"text/event-stream; charset=utf-8")
    assert await sent(with_escaped_line_ends(app)) == rb"".join(
        ["é".encode(), rb"\u0085", "€".encode(), rb"\u2028\u2029", "\u2030𝄞Â".encode()]
    )


async def test_incomplete_separator_at_the_end_is_sent() -> None:
    app = streaming(b"\xe2\x80", content_type=b"text/event-stream")
    assert await sent(with_escaped_line_ends(app)) == b"\xe2\x80"


async def test_other_content_types_are_unchanged() -> None:
    whole = f"a{SEPARATORS}".encode()
    assert await sent(with_escaped_line_ends(streaming(whole, content_type=b"text/plain"))) == whole


# Authorization server metadata


async def test_metadata_routes_name_the_issuer_without_warnings() -> None:
    """Warnings are errors here."""
    auth = AuthSettings(issuer="https://issuer.test")
    app = Starlette(routes=metadata_routes(auth, "https://dagcall.test/mcp"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://dagcall.test") as http:
        metadata = (await http.get("/.well-known/oauth-protected-resource/mcp")).json()

    assert metadata["resource"] == "https://dagcall.test/mcp"
    assert metadata["authorization_servers"] == ["https://issuer.test"]
