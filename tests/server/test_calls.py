"""Calls, from the SDK's client to the fake Airflow and back, in both protocol eras."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

import httpx
import pytest
from mcp import Client, MCPError
from mcp_types import CallToolResult, TextContent

from dagcall.airflow.gate import DEFAULT_CEILING, STREAMING_LIMIT
from dagcall.app import Dagcall, assembled
from dagcall.settings import Settings
from tests.fake_airflow import NOTSET, FakeAirflow, FakeDag, FakeParam, FakeTask, Fault
from tests.fake_airflow.questions import Version
from tests.support.in_memory import Served

Mode = Literal["auto", "legacy"]
VERSIONS: tuple[Version, ...] = ("3.1.8", "3.2.2", "3.3.2")


def add(dag_id: str = "add", **more: Any) -> FakeDag:
    return FakeDag(
        dag_id,
        params={"x": FakeParam(NOTSET, type="integer"), "y": FakeParam(2, type="integer")},
        tasks=[FakeTask("total", lambda params: params["x"] + params["y"])],
        **more,
    )


def returns(value: Any, **more: Any) -> FakeDag:
    return FakeDag("returns", tasks=[FakeTask("it", lambda _: value, **more)])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the condition changes inside the fake, which has no events
            await asyncio.sleep(0)


WANTS_PROGRESS: Any = {"progressToken": 1}
"""The progress token; the SDK's in-memory client does not send one itself."""


async def call(dagcall: Dagcall, name: str, mode: Mode = "auto", **arguments: Any) -> CallToolResult:
    async with asyncio.timeout(60), Client(dagcall.mcp.sdk, mode=mode) as client:
        return await client.call_tool(name, arguments)


def text_of(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


async def answer(dagcall: Dagcall, name: str, mode: Mode = "auto", **arguments: Any) -> dict[str, Any]:
    """Return the structured content, and check that it equals the text."""
    result = await call(dagcall, name, mode, **arguments)
    assert not result.is_error, text_of(result)
    assert json.loads(text_of(result)) == result.structured_content
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def refusal(dagcall: Dagcall, name: str, **arguments: Any) -> str:
    result = await call(dagcall, name, **arguments)
    assert result.is_error
    assert result.structured_content is None
    return text_of(result)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_call_runs_the_dag_and_returns_its_result(served: Served, version: Version, mode: Mode) -> None:
    airflow = FakeAirflow(version)
    airflow.add_dag(add())

    async with served(airflow) as dagcall:
        content = await answer(dagcall, "add", mode, x=3)

    (run,) = airflow.runs
    assert content == {
        "state": "success",
        "dag_run_id": run.run_id,
        "results": {"total": 5},
        "url": f"http://airflow.test/dags/add/runs/{run.run_id}",
    }
    assert run.conf == {"x": 3}


async def test_run_note_names_the_tool_and_the_client(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow) as dagcall:
        await answer(dagcall, "add", "legacy", x=1)

    note = airflow.runs[0].note or ""
    assert note.startswith("Called through MCP (dagcall) as tool add (request 2) by mcp 0.1.0 [")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("task", "result"),
    [
        pytest.param(FakeTask("it", lambda _: [1, 2]), [1, 2], id="a list that one task returned"),
        pytest.param(FakeTask("it", lambda _: None), None, id="nothing"),
        pytest.param(
            FakeTask("it", lambda _: ["a", None, "c"], mapped=True), ["a", None, "c"], id="mapped, with a gap"
        ),
        pytest.param(FakeTask("it", lambda _: [[1], [2]], mapped=True), [[1], [2]], id="mapped, lists"),
        pytest.param(
            FakeTask("it", lambda _: {"__classname__": "builtins.tuple", "__version__": 1, "__data__": [float("nan")]}),
            [None],
            id="a tuple with NaN",
        ),
    ],
)
async def test_results_of_every_shape_are_returned(
    served: Served, version: Version, task: FakeTask, result: Any
) -> None:
    airflow = FakeAirflow(version)
    airflow.add_dag(FakeDag("d", tasks=[task]))

    async with served(airflow) as dagcall:
        content = await answer(dagcall, "d")

    assert content["results"] == {"it": result}


TWO_TASKS = [FakeTask("first", lambda _: 1, downstream=["last"], is_result=True), FakeTask("last", lambda _: 2)]


@pytest.mark.parametrize(
    ("version", "configured", "results"),
    [
        pytest.param("3.3.2", None, {"first": 1}, id="the dag's own result, since 3.3"),
        pytest.param("3.2.2", None, {"last": 2}, id="the leaves before that"),
        pytest.param("3.3.2", ["last", "first"], {"last": 2, "first": 1}, id="configured"),
        pytest.param("3.1.8", ["last", "first"], {"last": 2, "first": 1}, id="configured, on 3.1"),
    ],
)
async def test_result_tasks_come_from_settings_or_airflow(
    served: Served, version: Version, configured: list[str] | None, results: dict[str, Any]
) -> None:
    airflow = FakeAirflow(version)
    airflow.add_dag(FakeDag("d", tasks=TWO_TASKS))

    async with served(airflow, tools=[{"dag": "d", "results": configured}]) as dagcall:
        assert (await answer(dagcall, "d"))["results"] == results


@pytest.mark.parametrize("version", VERSIONS)
async def test_failed_run_names_the_task_and_its_exception(served: Served, version: Version) -> None:
    def explode(_: Any) -> None:
        raise ValueError("no such region")

    airflow = FakeAirflow(version)
    tasks = [FakeTask("prepare", lambda _: 1, downstream=["explode"]), FakeTask("explode", explode, retries=1)]
    airflow.add_dag(FakeDag("d", tasks=tasks))

    async with served(airflow) as dagcall:
        text = await refusal(dagcall, "d")

    (run,) = airflow.runs
    assert text.splitlines() == [
        f"The run {run.run_id} of dag d failed.",
        "Task explode failed on try 2 of 2: ValueError: no such region",
        "  Raised in dags/dags.py, line 1, in call",
        "Already succeeded, and is not undone: prepare.",
        "Calling again with the same arguments starts a new run, which will probably fail in the same way.",
        f"For people: http://airflow.test/dags/d/runs/{run.run_id}",
    ]


async def test_invalid_arguments_start_nothing(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow) as dagcall:
        text = await refusal(dagcall, "add", x="3", z=1)

    assert text == (
        "Nothing was started: invalid arguments for add.\n"
        "- z: there is no such argument; there are x, y\n"
        "- x: '3' is not of type 'integer'"
    )
    assert airflow.runs == []


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_unknown_tool_is_a_protocol_error_with_a_suggestion(served: Served, mode: Mode) -> None:
    """MCP: unknown tools are -32602 (invalid params), not tool errors."""
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow) as dagcall, Client(dagcall.mcp.sdk, mode=mode) as client:
        with pytest.raises(MCPError) as error:
            await client.call_tool("adda", {"x": 1})

    assert (error.value.code, error.value.message) == (-32602, "there is no tool 'adda'; did you mean 'add'?")


async def test_dag_paused_after_listing_starts_nothing(served: Served) -> None:
    airflow = FakeAirflow()
    dag = airflow.add_dag(add())

    async with served(airflow) as dagcall:
        dag.is_paused = True
        text = await refusal(dagcall, "add", x=1)

    assert text == (
        "Nothing was started: dag add cannot run now: it is paused in Airflow; unpause it there to publish it."
    )
    assert airflow.runs == []


async def test_dag_deleted_after_listing_starts_nothing(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow) as dagcall:
        del airflow.dags["add"]
        text = await refusal(dagcall, "add", x=1)

    assert text == "Nothing was started: dag add cannot run now: it is no longer in Airflow."


async def test_params_changed_after_listing_report_airflows_reason(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow) as dagcall:
        airflow.add_dag(FakeDag("add", params={"x": FakeParam(NOTSET, type="integer", minimum=10)}))
        text = await refusal(dagcall, "add", x=1)

    assert text == (
        "Nothing was started: Airflow refused to start dag add: Invalid input for param x: 1 is less than the minimum "
        "of 10."
    )


@pytest.mark.parametrize(
    ("error", "after_effect"),
    [
        pytest.param(httpx.ConnectError, False, id="refused"),
        pytest.param(httpx.ReadTimeout, False, id="request lost"),
        pytest.param(httpx.ReadTimeout, True, id="answer lost"),
        pytest.param(httpx.RemoteProtocolError, False, id="reset before"),
        pytest.param(httpx.RemoteProtocolError, True, id="reset after"),
    ],
)
async def test_lost_answer_to_the_trigger_starts_one_run(
    served: Served,
    error: type[httpx.TransportError],
    after_effect: bool,  # noqa: FBT001 - a table's column
) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.add_fault(Fault(route="trigger", error=error, after_effect=after_effect))

    async with served(airflow) as dagcall:
        content = await answer(dagcall, "add", x=1)

    assert content["results"] == {"total": 3}
    assert len(airflow.runs) == 1


async def test_500_after_the_commit_starts_one_run(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.add_fault(Fault(route="trigger", status=500, after_effect=True, times=2))

    async with served(airflow) as dagcall:
        await answer(dagcall, "add", x=1)

    assert len(airflow.runs) == 1


async def test_conflicting_logical_date_is_replaced(served: Served) -> None:
    """Airflow: UNIQUE(dag_id, logical_date), and a 409 that does not say which constraint it was."""
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.add_fault(Fault(route="trigger", status=409, times=3))

    async with served(airflow) as dagcall:
        await answer(dagcall, "add", x=1)

    dates = [request.json["logical_date"] for request in airflow.requests_to("trigger")]
    assert len(set(dates)) == 4
    assert len(airflow.runs) == 1


async def test_logical_date_can_be_switched_off(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow, tools=[{"dag": "add", "logical_date": "none"}]) as dagcall:
        await answer(dagcall, "add", x=1)

    assert airflow.runs[0].logical_date is None


async def test_unreachable_airflow_at_the_trigger_starts_nothing(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.add_fault(Fault(route="trigger", error=httpx.ConnectError, times=None))

    async with served(airflow) as dagcall:
        text = await refusal(dagcall, "add", x=1)

    assert text.startswith("Nothing was started: Airflow at http://airflow.test cannot be reached")


async def test_unknown_trigger_outcome_is_reported_with_a_next_step(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.add_fault(Fault(route="trigger", error=httpx.ReadTimeout, times=None))
    airflow.add_fault(Fault(route="run", error=httpx.ReadTimeout, times=None))

    async with served(airflow) as dagcall:
        text = await refusal(dagcall, "add", x=1)

    assert text.startswith("It is not known whether run mcp__")
    assert "Call again with the same arguments to find out; this starts no second run." in text


async def test_timed_out_call_returns_the_run_id_and_a_wait_its_result(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add(checks=None))

    async with served(airflow, wait_seconds=0.05) as dagcall:
        content = await answer(dagcall, "add", x=1)
        (run,) = airflow.runs
        assert content == {
            "state": "running",
            "dag_run_id": run.run_id,
            "message": (
                "The run goes on (queued). Call wait_for_dag_run with tool 'add' and this dag_run_id for its result."
            ),
            "url": f"http://airflow.test/dags/add/runs/{run.run_id}",
        }
        airflow.finish(run)
        again = await answer(dagcall, "wait_for_dag_run", tool="add", dag_run_id=run.run_id)

    assert again["results"] == {"total": 3}
    assert len(airflow.runs) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"tool": "add"}, "dag_run_id: required, must be text"),
        ({"tool": "add", "dag_run_id": 3}, "dag_run_id: required, must be text"),
        ({"tool": "add", "dag_run_id": "x", "seconds": 3}, "seconds: there is no such argument"),
        ({"tool": "ad", "dag_run_id": "x"}, "tool: there is no tool 'ad'; did you mean 'add'?"),
        (
            {"tool": "add", "dag_run_id": "manual__2026"},
            "there is no run 'manual__2026' that you started with tool add",
        ),
        ({"tool": "add", "dag_run_id": "mcp__x/../y"}, "there is no run 'mcp__x/../y' that you started with tool add"),
    ],
)
async def test_wait_rejects_invalid_arguments_and_unknown_runs(
    served: Served, arguments: dict[str, Any], sentence: str
) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow) as dagcall:
        assert sentence in await refusal(dagcall, "wait_for_dag_run", **arguments)


async def test_run_deleted_during_the_wait_is_reported(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add(checks=None))

    async with served(airflow) as dagcall:
        calling = asyncio.create_task(refusal(dagcall, "add", x=1))
        await until(lambda: airflow.open_streams > 0)
        airflow.delete(airflow.runs[0])
        text = await calling

    assert "was deleted in Airflow while dagcall waited for it" in text


async def test_unreadable_results_still_report_the_run(served: Served) -> None:
    airflow = FakeAirflow("3.2.2")
    airflow.add_dag(add())
    airflow.add_fault(Fault(route="xcom", status=403, body={"detail": "Forbidden"}, times=None))

    async with served(airflow) as dagcall:
        text = await refusal(dagcall, "add", x=1)

    assert text.startswith(f"Run {airflow.runs[0].run_id} of dag add was started and succeeded, but Airflow at")
    assert "the account that dagcall uses may not do this" in text
    assert "Call wait_for_dag_run with tool 'add' and this run id to get its outcome; this starts no run." in text


@pytest.mark.virtual_time
@pytest.mark.parametrize("runs", [20, 100])
async def test_parallel_calls_each_get_their_result_through_the_gate(served: Served, runs: int) -> None:
    airflow = FakeAirflow()
    airflow.latency_seconds = 0.002
    airflow.add_dag(add(checks=3, max_active_runs=1000))

    async with served(airflow, wait_seconds=60) as dagcall, Client(dagcall.mcp.sdk) as client:
        results = await asyncio.gather(*(client.call_tool("add", {"x": x}) for x in range(runs)))

    totals = [(result.structured_content or {}).get("results") for result in results]
    assert totals == [{"total": x + 2} for x in range(runs)]
    assert len(airflow.runs) == runs
    assert airflow.max_in_flight <= DEFAULT_CEILING + STREAMING_LIMIT // 2


async def test_swallowed_stream_is_replaced_by_polling(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagcall.runs.waiter.FIRST_LINE_SECONDS", 0.05)
    airflow = FakeAirflow()
    airflow.add_dag(add(checks=None))
    airflow.add_fault(Fault(route="wait", swallow_stream=True, times=1))

    async with served(airflow) as dagcall:
        calling = asyncio.create_task(answer(dagcall, "add", x=1))
        await until(lambda: any("end_date_gte" in (asked.json or {}) for asked in airflow.requests_to("list_runs")))
        airflow.finish(airflow.runs[0])
        content = await calling

    assert content["results"] == {"total": 3}


@pytest.mark.virtual_time
async def test_cut_stream_is_replaced_by_polling(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add(checks=4))
    airflow.add_fault(Fault(route="wait", cut_after_lines=1))

    async with served(airflow) as dagcall:
        assert (await answer(dagcall, "add", x=1))["results"] == {"total": 3}


async def test_expired_token_is_renewed_during_a_call(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.add_fault(Fault(route="trigger", status=401, body={"detail": "Token Expired"}))
    airflow.add_fault(Fault(route="dag", status=403, body={"detail": "Invalid JWT token"}))

    async with served(airflow) as dagcall:
        await answer(dagcall, "add", x=1)

    assert airflow.access.logins == 3


async def test_drain_answers_a_waiting_call_with_its_running_run(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add(checks=None))

    async with served(airflow, wait_seconds=3600) as dagcall:
        calling = asyncio.create_task(answer(dagcall, "add", x=1))
        await until(lambda: airflow.open_streams > 0)
        dagcall.runs.drain()
        content = await calling

    assert content["state"] == "running"


async def test_server_that_is_shutting_down_starts_nothing(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow) as dagcall:
        dagcall.mcp.begin_stop()
        assert (await refusal(dagcall, "add", x=1)).startswith("Nothing was started: dagcall is shutting down")

    assert airflow.runs == []


@pytest.mark.virtual_time
@pytest.mark.parametrize("what", ["deleted", "ended unseen"])
async def test_sweep_finds_runs_that_the_shared_poll_misses(
    served: Served, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("dagcall.runs.waiter.SWEEP_SECONDS", 0.0)
    airflow = FakeAirflow()
    airflow.add_dag(add(checks=None))

    async with served(airflow, airflow={"max_in_flight": 1}) as dagcall:  # one place: no streams
        calling = asyncio.create_task(call(dagcall, "add", x=1))
        await until(lambda: dagcall.waiter.watched == 1)
        run = airflow.runs[0]
        if what == "deleted":
            airflow.delete(run)
        else:
            airflow.finish(run)
            run.end_date = airflow.clock.now() - timedelta(days=1)
        result = await calling

    assert bool(result.is_error) == (what == "deleted")


async def test_progress_is_reported_and_strictly_increases(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagcall.mcp.progress.PROGRESS_SECONDS", 0.01)
    airflow = FakeAirflow()
    airflow.add_dag(add(checks=None))
    seen: list[tuple[float, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        assert total is None
        seen.append((progress, message))
        if len(seen) == 3:
            airflow.finish(airflow.runs[0])

    async with served(airflow) as dagcall, Client(dagcall.mcp.sdk) as client, asyncio.timeout(60):
        await client.call_tool("add", {"x": 1}, progress_callback=on_progress, meta=WANTS_PROGRESS)

    assert len(seen) >= 3
    assert [progress for progress, _ in seen] == sorted({progress for progress, _ in seen})
    assert seen[-1][1] is not None


async def test_unexpected_error_is_logged_and_not_shown(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow) as dagcall:
        monkeypatch.setattr(dagcall.runs, "call", None)
        text = await refusal(dagcall, "add", x=1)

    assert text.startswith("dagcall failed during this call of add; see its log.")
    assert "TypeError" in caplog.text


async def test_call_during_the_first_reading_of_the_dags_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    login = {"url": airflow.url, "username": "admin", "password": "admin"}
    settings = Settings.model_validate({"airflow": login, "dags": ["*"]})

    async with assembled(settings, wait_seconds=5.0, transport=airflow.transport) as dagcall:
        monkeypatch.setattr("dagcall.mcp.calls.FIRST_READ_SECONDS", 0.1)
        too_early = await refusal(dagcall, "add", x=1)
        monkeypatch.setattr("dagcall.mcp.calls.FIRST_READ_SECONDS", 30.0)
        calling = asyncio.create_task(answer(dagcall, "add", x=1))
        await asyncio.sleep(0.1)
        await dagcall.catalog.refresh()
        content = await calling

    assert too_early.startswith("Nothing was started: dagcall has started a moment ago and still reads the dags")
    assert content["results"] == {"total": 3}
