"""`notifications/cancelled` over HTTP from clients before 2026-07-28."""

import asyncio
from typing import Any

import httpx
import pytest
from mcp.server.streamable_http import REQUEST_CANCELLED

from tests.fake_airflow import FakeAirflow
from tests.server.test_calls import add, until
from tests.server.test_http import connected, event_of, shake_hands
from tests.support.in_memory import Served

REVISION = "2025-11-25"


class OldClient:
    """A client of the handshake, with raw messages."""

    def __init__(self, http: httpx.AsyncClient, session: str) -> None:
        self._http = http
        self._headers = {
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": REVISION,
            "Mcp-Session-Id": session,
        }

    async def send(self, message: dict[str, Any]) -> httpx.Response:
        return await self._http.post("/mcp", json={"jsonrpc": "2.0", **message}, headers=self._headers)

    def call(self, request_id: int | str, **arguments: Any) -> asyncio.Task[httpx.Response]:
        params = {"name": "add", "arguments": arguments}
        return asyncio.create_task(self.send({"id": request_id, "method": "tools/call", "params": params}))

    async def cancel(self, request_id: int | str) -> None:
        answer = await self.send({"method": "notifications/cancelled", "params": {"requestId": request_id}})
        assert answer.status_code == 202


async def old_client(http: httpx.AsyncClient) -> OldClient:
    session = (await shake_hands(http, REVISION, {"name": "old", "version": "1"})).headers["mcp-session-id"]
    return OldClient(http, session)


@pytest.mark.parametrize("request_id", [7, "7", "call-7"], ids=["number", "digits", "text"])
async def test_cancelled_request_is_answered_and_its_run_goes_to_the_next_identical_call(
    served: Served, request_id: int | str
) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add(checks=None))

    async with served(airflow, wait_seconds=3600) as dagcall, connected(dagcall) as http:
        client = await old_client(http)
        calling = client.call(request_id, x=1)
        await until(lambda: airflow.open_streams > 0)
        await client.cancel(request_id)
        cancelled = event_of(await calling)
        airflow.finish(airflow.runs[0])
        again = event_of(await client.call(8, x=1))

    assert cancelled["error"]["code"] == REQUEST_CANCELLED
    assert again["result"]["structuredContent"]["results"] == {"total": 3}
    assert len(airflow.runs) == 1


async def test_cancelled_request_ends_its_run_with_on_cancel_fail(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagcall.runs.cancel.GRACE_SECONDS", 0.01)
    airflow = FakeAirflow()
    airflow.add_dag(add(checks=None))
    tools: dict[str, Any] = {"tools": [{"dag": "add", "on_cancel": "fail"}]}

    async with served(airflow, wait_seconds=3600, **tools) as dagcall, connected(dagcall) as http:
        client = await old_client(http)
        calling = client.call(1, x=1)
        await until(lambda: airflow.open_streams > 0)
        await client.cancel(1)
        await calling
        await until(lambda: airflow.runs[0].state == "failed")


async def test_request_of_another_session_is_not_cancelled(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add(checks=None))

    async with served(airflow, wait_seconds=3600) as dagcall, connected(dagcall) as http:
        client, other = await old_client(http), await old_client(http)
        calling = client.call(1, x=1)
        await until(lambda: airflow.open_streams > 0)
        await other.cancel(1)
        await client.cancel(2)
        airflow.finish(airflow.runs[0])
        answer = event_of(await calling)

    assert answer["result"]["structuredContent"]["results"] == {"total": 3}
