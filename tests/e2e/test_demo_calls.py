"""Every call of `demo_calls`, over both transports and in both eras, with complete answers compared."""

import asyncio
import math
import uuid
from pathlib import Path

import pytest
from mcp import Client
from mcp_types import ToolListChangedNotification

from tests.e2e.conftest import DAGS
from tests.support.clients import CONNECTIONS, answer_of, connected, text_of
from tests.support.demo_calls import FAILURES, DemoFailure, demo_calls, repeated_order_calls
from tests.support.running_demo import RunningDemo

LONGEST_SECONDS = 240.0
"""The limit for calls that take a few seconds on an idle machine."""

every_connection = pytest.mark.parametrize("connection", CONNECTIONS)


@every_connection
async def test_parallel_demo_calls_get_their_complete_answers(
    demo: RunningDemo, connection: str, tmp_path: Path
) -> None:
    calls = demo_calls(f"{connection} {uuid.uuid4()}")
    async with asyncio.timeout(LONGEST_SECONDS), connected(demo, connection, tmp_path / "stderr") as client:
        answers = await asyncio.gather(*(answer_of(client, demo, call.tool, call.arguments) for call in calls))
    assert [answer["results"] for answer in answers] == [call.results for call in calls]


@every_connection
async def test_repeated_order_is_recognised(demo: RunningDemo, connection: str, tmp_path: Path) -> None:
    calls = repeated_order_calls(f"{connection} {uuid.uuid4()}")
    async with (
        asyncio.timeout(LONGEST_SECONDS),
        connected(demo, connection, tmp_path / "stderr", allowed="submit_order") as client,
    ):
        answers = [await answer_of(client, demo, call.tool, call.arguments) for call in calls]
    assert [answer["results"] for answer in answers] == [call.results for call in calls]


@every_connection
async def test_failed_run_names_its_task_try_and_exception(demo: RunningDemo, connection: str, tmp_path: Path) -> None:
    async def check(client: Client, failure: DemoFailure) -> None:
        result = await client.call_tool(failure.tool, failure.arguments)
        assert result.is_error
        assert result.structured_content is None
        text = text_of(result)
        assert f"{demo.airflow_url}/dags/{failure.tool}/runs/mcp__" in text
        assert f"Task {failure.task} failed on try {failure.tries} of {failure.tries}: {failure.error}\n" in text

    async with asyncio.timeout(LONGEST_SECONDS), connected(demo, connection, tmp_path / "stderr") as client:
        await asyncio.gather(*(check(client, failure) for failure in FAILURES))


@pytest.mark.parametrize("connection", ["http 2026-07-28", "http 2025-11-25"])
async def test_twenty_parallel_calls_each_get_their_answer(demo: RunningDemo, connection: str, tmp_path: Path) -> None:
    numbers = [n % 15 for n in range(20)]  # five of them twice: simultaneous identical calls start two runs
    async with asyncio.timeout(LONGEST_SECONDS), connected(demo, connection, tmp_path / "stderr") as client:
        answers = await asyncio.gather(*(answer_of(client, demo, "factorial", {"n": n}) for n in numbers))

    assert [answer["results"] for answer in answers] == [{"compute": str(math.factorial(n))} for n in numbers]
    run_ids = {answer["dag_run_id"] for answer in answers}
    assert len(run_ids) == 20
    states = demo.runs_of("factorial")
    assert {run_id: states[run_id] for run_id in run_ids} == dict.fromkeys(run_ids, "success")


async def test_added_dag_becomes_a_tool_and_clients_are_notified(demo: RunningDemo, tmp_path: Path) -> None:
    """Except over HTTP in the handshake era, where a stateless server has no stream for notifications."""
    told = asyncio.Event()

    async def on_message(message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            told.set()

    async def next_change(client: Client) -> None:
        async with client.listen(tools_list_changed=True) as changes:
            listening.release()
            await anext(aiter(changes))

    listening = asyncio.Semaphore(0)
    async with (
        asyncio.timeout(LONGEST_SECONDS),
        connected(demo, "http 2026-07-28", tmp_path / "1") as http,
        connected(demo, "stdio 2026-07-28", tmp_path / "2") as stdio,
        connected(demo, "stdio 2025-11-25", tmp_path / "3", on_message=on_message) as legacy,
        asyncio.TaskGroup() as group,
    ):
        for client in (http, stdio, legacy):
            assert "reversal" not in {tool.name for tool in (await client.list_tools()).tools}
        for client in (http, stdio):
            group.create_task(next_change(client))
            await listening.acquire()
        (demo.folder / "dags" / "reversal.py").write_text((DAGS / "reversal.py").read_text())
        await told.wait()

    for connection in CONNECTIONS:
        async with asyncio.timeout(60), connected(demo, connection, tmp_path / "stderr") as client:
            answer = await answer_of(client, demo, "reversal", {"text": "Ostend"})
            assert answer["results"] == {"reverse": "dnetsO"}
