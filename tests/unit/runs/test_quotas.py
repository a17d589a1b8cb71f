"""Quotas of a caller: what is refused, what does not count, and when the caller may try again."""

import asyncio
from typing import Any

import pytest
from mcp import Client

from dagcall.airflow.client import AirflowApi
from dagcall.app import Dagcall
from dagcall.runs.quotas import Quotas
from tests.fake_airflow import NOTSET, FakeAirflow, FakeDag, FakeParam, FakeTask, Fault
from tests.server.test_calls import add, call, text_of
from tests.support.in_memory import Served


def waits() -> FakeDag:
    params = {"x": FakeParam(NOTSET, type="integer")}
    return FakeDag("waits", params=params, tasks=[FakeTask("it", lambda _: 1)], checks=None)


async def briefly(dagcall: Dagcall, key: str | None = None, **arguments: Any) -> str:
    """Call without waiting for the run to end; return the answer's text."""
    async with asyncio.timeout(60), Client(dagcall.mcp.sdk) as client:
        meta: Any = {"dagcall/wait_seconds": 0} | ({} if key is None else {"dagcall/idempotency_key": key})
        return text_of(await client.call_tool("waits", arguments, meta=meta))


async def test_calls_beyond_the_limit_are_told_when_to_retry(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    now = [1_000_000.0]
    monkeypatch.setattr("dagcall.runs.quotas.monotonic", lambda: now[0])

    async with served(airflow, dags=["*"], limits={"calls_per_minute": 2}) as dagcall:
        await call(dagcall, "add", x=1)
        now[0] += 20
        await call(dagcall, "add", x=2)
        refused = await call(dagcall, "add", x=3)
        now[0] += 41
        late = await call(dagcall, "add", x=3)

    assert refused.is_error
    assert text_of(refused) == (
        "Nothing was started: you may start add at most 2 times a minute, and you have reached this limit; try again "
        "in 40 s."
    )
    assert not late.is_error
    assert len(airflow.runs) == 3


async def test_limit_of_a_tool_overrides_the_general_limit(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    tools = [{"dag": "add", "calls_per_minute": 1}, {"dag": "add", "name": "plus"}]

    async with served(airflow, tools=tools, limits={"calls_per_minute": 2}) as dagcall:
        answers = [await call(dagcall, name, x=x) for x, name in enumerate(["add", "add", "plus", "plus", "plus"])]

    assert [answer.is_error for answer in answers] == [False, True, False, False, True]
    assert "you may start add at most once a minute" in text_of(answers[1])


async def test_retry_of_an_existing_run_is_never_refused(served: Served) -> None:
    """Even if another process started the run."""
    airflow = FakeAirflow()
    airflow.add_dag(waits())
    limits = {"calls_per_minute": 1, "max_concurrent": 1}

    async with served(airflow, dags=["*"], limits=limits) as first:
        await briefly(first, x=1)
        again = await briefly(first, x=1)
        other = await briefly(first, x=2)
    async with served(airflow, dags=["*"], limits=limits) as second:
        await briefly(second, x=3)
        adopted = await briefly(second, x=1)

    assert '"running"' in again
    assert other.startswith("Nothing was started: ")
    assert '"running"' in adopted
    assert [run.conf["x"] for run in airflow.runs] == [1, 3]


async def test_retry_with_the_same_key_does_not_count(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(waits())

    async with served(airflow, dags=["*"], limits={"calls_per_minute": 2}) as dagcall:
        retries = [await briefly(dagcall, "a", x=1) for _ in range(4)]
        other = await briefly(dagcall, "b", x=2)
        refused = await briefly(dagcall, "c", x=3)

    assert all('"running"' in text for text in [*retries, other])
    assert refused.startswith("Nothing was started: ")
    assert len(airflow.runs) == 2


@pytest.mark.parametrize("more", [{}, {"calls_per_minute": 1}])
async def test_retry_with_the_same_key_does_not_free_a_slot(served: Served, more: dict[str, int]) -> None:
    """The run continues, however often it is requested."""
    airflow = FakeAirflow()
    airflow.add_dag(waits())

    async with served(airflow, dags=["*"], limits={"max_concurrent": 1, **more}) as dagcall:
        await briefly(dagcall, "a", x=1)
        await asyncio.gather(*(briefly(dagcall, "a", x=1) for _ in range(3)))
        refused = await briefly(dagcall, "b", x=2)

    assert refused.startswith("Nothing was started: you may have at most 1 unfinished run of waits")
    assert "you have reached this limit (mcp__" in refused
    assert len(airflow.runs) == 1


async def test_inactive_callers_are_forgotten(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    now = [1_000_000.0]
    monkeypatch.setattr("dagcall.runs.quotas.monotonic", lambda: now[0])
    quotas = Quotas(AirflowApi(None, ui_url="-"), calls_per_minute=1)  # type: ignore[arg-type] # not used here

    async with served(airflow, dags=["*"]) as dagcall:
        tool = dagcall.catalog.tool("add")
    for caller in range(5):
        assert quotas.may_look(f"caller {caller}", tool)
        await quotas.admit(f"caller {caller}", tool, f"run {caller}")
        quotas.attempted(f"run {caller}", may_exist=True)
    assert quotas.callers == 5
    now[0] += 61
    await quotas.admit("another", tool, "run")
    assert quotas.callers == 1


async def test_unfinished_runs_count_until_airflow_reports_their_end(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagcall.runs.quotas.CHECK_SECONDS", 0.0)
    airflow = FakeAirflow()
    airflow.add_dag(waits())

    async with served(airflow, dags=["*"], limits={"max_concurrent": 2}) as dagcall:
        for x in (1, 2):
            assert '"running"' in await briefly(dagcall, x=x)
        refused = await briefly(dagcall, x=3)
        first, second = airflow.runs
        airflow.finish(first)
        allowed = await briefly(dagcall, x=3)

    assert refused == (
        f"Nothing was started: you may have at most 2 unfinished runs of waits, and you have reached this limit "
        f"({first.run_id}, {second.run_id}). Call wait_for_dag_run to wait until one ends, then try again."
    )
    assert '"running"' in allowed


async def test_finished_run_frees_its_slot(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow, dags=["*"], limits={"max_concurrent": 1}) as dagcall:
        answers = [await call(dagcall, "add", x=x) for x in range(3)]

    assert not any(answer.is_error for answer in answers)


@pytest.mark.parametrize("limits", [{"max_concurrent": 1}, {"calls_per_minute": 1}])
async def test_refused_start_does_not_count(served: Served, limits: dict[str, int]) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow, dags=["*"], limits=limits) as dagcall:
        airflow.add_fault(Fault(route="trigger", status=422, times=1))
        refused = await call(dagcall, "add", x=1)
        then = await call(dagcall, "add", x=1)

    assert refused.is_error
    assert not then.is_error


async def test_refused_calls_cause_few_requests_to_airflow(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagcall.runs.quotas.LOOKS_PER_MINUTE", 3)
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow, dags=["*"], limits={"calls_per_minute": 1}) as dagcall:
        await call(dagcall, "add", x=0)
        for x in range(1, 20):
            assert (await call(dagcall, "add", x=x)).is_error

    assert len([asked for asked in airflow.requests_to("run") if airflow.runs[0].run_id not in asked.path]) == 3
    assert len(airflow.runs) == 1


async def test_arguments_that_are_too_large_are_refused(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("echo", params={"text": ""}))

    async with served(airflow, dags=["*"], limits={"max_argument_bytes": 1000}) as dagcall:
        refused = await call(dagcall, "echo", text="é" * 500)
        accepted = await call(dagcall, "echo", text="é" * 400)

    assert "the arguments are 1,012 bytes of JSON; at most 1,000 are taken here" in text_of(refused)
    assert not accepted.is_error
