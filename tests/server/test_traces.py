"""Traces: one shows the agent, its call, the run and the run's tasks."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mcp import Client
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from dagcall.mcp.calls import META_WAIT_SECONDS
from dagcall.traces import run_spans
from dagcall.traces.run_spans import RunSpans
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask, Fault
from tests.fake_airflow.runs import FakeRun
from tests.fake_airflow.serving import WallClock
from tests.server.test_calls import add, call, until
from tests.server.test_http import connected, post
from tests.support.collected import Collected, context_of
from tests.support.in_memory import Served
from tests.support.task_client import task_client
from tests.unit.runs.test_quotas import waits

TRACE, AGENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{AGENT}-01"
PHASES = ["wait in line", "start the run", "wait for the run", "read the outcome"]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_spans, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(run_spans, "LOOK_SECONDS", 0.01)


def airflow_with(*dags: FakeDag) -> FakeAirflow:
    airflow = FakeAirflow(clock=WallClock())
    for dag in dags:
        airflow.add_dag(dag)
    return airflow


def times_of(span: ReadableSpan) -> tuple[datetime, datetime]:
    assert span.start_time
    assert span.end_time
    begin, end = (datetime.fromtimestamp(at / 1e9, UTC) for at in (span.start_time, span.end_time))
    return begin, end


def trace_of(span: ReadableSpan) -> str:
    return format_trace_id(context_of(span).trace_id)


def is_close(one: datetime, other: datetime | None) -> bool:
    return other is not None and abs((one - other).total_seconds()) < 0.001


def attribute(span: ReadableSpan, name: str) -> object:
    return dict(span.attributes or {}).get(name)


async def test_one_trace_shows_agent_call_run_and_tasks(served: Served, collected: Collected, tmp_path: Path) -> None:
    two = [FakeTask("first", lambda _: 1, downstream=["last"]), FakeTask("last", lambda _: 2)]
    airflow, file = airflow_with(FakeDag("two", tasks=two)), tmp_path / "audit.jsonl"

    async with served(airflow, dags=["*"], audit={"file": str(file)}) as dagcall:
        async with Client(dagcall.mcp.sdk) as agent:
            await agent.call_tool("two", {}, meta={"traceparent": TRACEPARENT})  # type: ignore[arg-type]
        await until(lambda: bool(collected.named("dag_run two")))

    (run,) = airflow.runs
    served_span = collected.one("tools/call two", SpanKind.SERVER)
    assert served_span.parent is not None
    assert format_span_id(served_span.parent.span_id) == AGENT
    of_run = collected.one("dag_run two")
    children = collected.below(served_span)
    assert [span.name for span in children if span is not of_run] == PHASES
    assert of_run in children
    for phase in children:
        assert attribute(phase, "airflow.dag_run.run_id") == run.run_id
    begin, end = times_of(of_run)
    assert is_close(begin, run.start_date)
    assert is_close(end, run.end_date)
    assert [span.name for span in collected.below(of_run)] == ["first", "last"]
    assert {trace_of(span) for span in (served_span, *children, *collected.below(of_run))} == {TRACE}
    assert attribute(served_span, "dagcall.outcome") == "success"
    assert json.loads(file.read_text())["trace"] == TRACE


async def test_phases_are_within_the_call_and_follow_each_other(served: Served, collected: Collected) -> None:
    async with served(airflow_with(add())) as dagcall:
        await call(dagcall, "add", x=1)

    span = collected.one("tools/call add", SpanKind.SERVER)
    phases = [each for each in collected.below(span) if each.name in PHASES]
    moments = [moment for each in phases for moment in times_of(each)]
    begin, end = times_of(span)
    assert moments == sorted(moments)
    assert (moments[0] - begin).total_seconds() > -0.005
    assert (end - moments[-1]).total_seconds() > -0.005


async def test_trace_of_http_headers_is_continued_unless_meta_has_one(served: Served, collected: Collected) -> None:
    airflow = airflow_with(add())
    other = "0" * 31 + "1"
    async with served(airflow) as dagcall, connected(dagcall) as http:
        http.headers["traceparent"] = TRACEPARENT
        await post(http, "tools/call", {"name": "add", "arguments": {"x": 1}}, revision="2025-06-18")
        meta = {"traceparent": f"00-{other}-{AGENT}-01"}
        arguments = {"name": "add", "arguments": {"x": 2}, "_meta": meta}
        await post(http, "tools/call", arguments, revision="2025-06-18")

    first, second = collected.named("tools/call add", SpanKind.SERVER)
    assert [trace_of(first), trace_of(second)] == [TRACE, other]
    assert f"trace {TRACE}" in (airflow.runs[0].note or "")


async def test_failed_run_and_its_failed_task_are_errors(served: Served, collected: Collected) -> None:
    async with served(airflow_with(FakeDag("fails", tasks=[FakeTask("it", lambda _: 1 / 0)]))) as dagcall:
        await call(dagcall, "fails")
        await until(lambda: bool(collected.named("dag_run fails")))

    of_run = collected.one("dag_run fails")
    assert attribute(of_run, "airflow.dag_run.state") == "failed"
    (task,) = collected.below(of_run)
    assert [span.status.status_code for span in (of_run, task)] == [StatusCode.ERROR] * 2
    assert collected.one("tools/call fails", SpanKind.SERVER).status.status_code is StatusCode.ERROR


async def test_run_that_outlives_its_call_gets_its_span_below_that_call(served: Served, collected: Collected) -> None:
    airflow = airflow_with(waits())
    async with served(airflow) as dagcall:
        async with Client(dagcall.mcp.sdk) as client:
            await client.call_tool("waits", {"x": 1}, meta={META_WAIT_SECONDS: 0})  # type: ignore[arg-type]
        await asyncio.sleep(0.05)
        assert not collected.named("dag_run waits")
        airflow.finish(airflow.runs[0])
        await until(lambda: bool(collected.named("dag_run waits")))

    of_run, of_call = collected.one("dag_run waits"), collected.one("tools/call waits", SpanKind.SERVER)
    assert of_run in collected.below(of_call)


async def test_run_of_a_caller_that_left_gets_its_span(served: Served, collected: Collected) -> None:
    airflow = airflow_with(waits())
    async with served(airflow) as dagcall:
        calling = asyncio.create_task(call(dagcall, "waits", x=1))
        await until(lambda: dagcall.waiter.watched == 1)
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        airflow.finish(airflow.runs[0])
        await until(lambda: bool(collected.named("dag_run waits")))

    assert attribute(collected.one("tools/call waits", SpanKind.SERVER), "dagcall.outcome") == "left"


async def test_shared_run_has_one_span(served: Served, collected: Collected) -> None:
    airflow = airflow_with(add())
    async with served(airflow) as dagcall, task_client(dagcall.mcp.sdk) as client:
        await client.until((await client.call("add", {"x": 1}))["taskId"])
        await until(lambda: bool(collected.named("dag_run add")))
        (run,) = airflow.runs
        await call(dagcall, "wait_for_dag_run", tool="add", dag_run_id=run.run_id)

    of_run, first = collected.one("dag_run add"), collected.one("tools/call add", SpanKind.SERVER)
    assert of_run.parent is not None
    assert of_run.parent.span_id == context_of(first).span_id


async def test_run_that_ended_long_before_its_call_is_left_to_an_earlier_trace(
    served: Served, collected: Collected
) -> None:
    airflow = airflow_with(add())
    tools = [{"dag": "add", "reuse_seconds": 7200}]
    async with served(airflow, tools=tools) as dagcall:
        await call(dagcall, "add", x=1)
        await until(lambda: bool(collected.named("dag_run add")))
    (run,) = airflow.runs
    assert run.start_date
    assert run.end_date
    run.start_date, run.end_date = run.start_date - timedelta(hours=1), run.end_date - timedelta(hours=1)
    seen = len(airflow.requests_to("list_task_instances"))
    async with served(airflow, tools=tools) as dagcall:
        await call(dagcall, "add", x=1)
        await until(lambda: len(airflow.requests_to("list_task_instances")) > seen)

    assert len(airflow.runs) == 1
    assert len(collected.named("dag_run add")) == 1


async def test_refused_request_makes_no_request_about_the_run_it_names(served: Served, collected: Collected) -> None:
    airflow = airflow_with(add())
    async with served(airflow) as dagcall:
        before = len(airflow.requests)
        await call(dagcall, "wait_for_dag_run", tool="add", dag_run_id="somebody_elses")
        await asyncio.sleep(0.05)

        assert len(airflow.requests) == before
    assert attribute(collected.one("tools/call wait_for_dag_run", SpanKind.SERVER), "dagcall.outcome") == "refused"


async def test_caller_that_is_not_sampled_costs_airflow_nothing(served: Served, collected: Collected) -> None:
    airflow = airflow_with(add())
    async with served(airflow) as dagcall, connected(dagcall) as http:
        http.headers["traceparent"] = f"00-{TRACE}-{AGENT}-00"
        await post(http, "tools/call", {"name": "add", "arguments": {"x": 1}}, revision="2025-06-18")
        await asyncio.sleep(0.05)

        assert collected.all == ()
    assert not airflow.requests_to("list_task_instances")


async def test_deleted_run_is_forgotten_and_silence_of_airflow_is_outlasted(
    served: Served, collected: Collected
) -> None:
    airflow = airflow_with(add(), waits())
    held = airflow.add_fault(Fault(route="list_task_instances", status=503, times=None))
    async with served(airflow) as dagcall:
        await call(dagcall, "add", x=1)
        await call(dagcall, "add", x=2)
        airflow.delete(airflow.runs[0])
        await asyncio.sleep(0.05)
        assert not collected.named("dag_run add")
        held.times = 0
        await until(lambda: bool(collected.named("dag_run add")))

    assert attribute(collected.one("dag_run add"), "airflow.dag_run.run_id") == airflow.runs[0].run_id


async def test_run_that_goes_on_although_its_call_has_failed_gets_its_span_at_its_end(
    served: Served, collected: Collected
) -> None:
    """A call ends when its result can no longer come."""
    airflow = airflow_with(waits())
    async with served(airflow) as dagcall:
        async with Client(dagcall.mcp.sdk) as client:
            await client.call_tool("waits", {"x": 1}, meta={META_WAIT_SECONDS: 0})  # type: ignore[arg-type]
        (run,) = airflow.runs
        of_call = context_of(collected.one("tools/call waits", SpanKind.SERVER))
        spans = RunSpans(dagcall.waiter.api, collected.provider.get_tracer("test"))
        seen = len(airflow.requests_to("run"))
        spans.add((run.dag_id, run.run_id), of_call, seconds=0, is_over=True)
        await until(lambda: len(airflow.requests_to("run")) > seen)
        assert not collected.named("dag_run waits")
        airflow.finish(run)
        await until(lambda: len(collected.named("dag_run waits")) == 2)  # one of the server's own
        await spans.aclose()


async def test_run_that_never_started_has_no_span(served: Served, collected: Collected) -> None:
    airflow = airflow_with(waits())
    async with served(airflow) as dagcall:
        async with Client(dagcall.mcp.sdk) as client:
            await client.call_tool("waits", {"x": 1}, meta={META_WAIT_SECONDS: 0})  # type: ignore[arg-type]
        (run,) = airflow.runs
        run.start_date = None
        airflow.finish(run, "failed")
        run.start_date = None
        seen = len(airflow.requests_to("run"))
        await until(lambda: len(airflow.requests_to("run")) > seen)

    assert not collected.named("dag_run waits")


async def test_spans_of_ended_runs_are_made_at_the_end(
    served: Served, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_spans, "PAUSE_SECONDS", 60.0)
    async with served(airflow_with(add())) as dagcall:
        await call(dagcall, "add", x=1)
        assert not collected.named("dag_run add")

    assert len(collected.named("dag_run add")) == 1


async def test_only_so_many_runs_are_followed(
    served: Served, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_spans, "MAX_RUNS", 2)
    airflow = airflow_with(waits())
    async with served(airflow) as dagcall:
        async with Client(dagcall.mcp.sdk) as client:
            for x in range(3):
                await client.call_tool("waits", {"x": x}, meta={META_WAIT_SECONDS: 0})  # type: ignore[arg-type]
        runs: list[FakeRun] = list(airflow.runs)
        for run in runs:
            airflow.finish(run)
        await until(lambda: len(collected.named("dag_run waits")) == 2)
        await asyncio.sleep(0.05)

    found = {attribute(span, "airflow.dag_run.run_id") for span in collected.named("dag_run waits")}
    assert found == {run.run_id for run in runs[1:]}


async def test_without_a_provider_there_are_no_spans(served: Served) -> None:
    airflow = airflow_with(add())
    async with served(airflow) as dagcall:
        await call(dagcall, "add", x=1)
        makers = [type(layer).__name__ for layer in dagcall.mcp.sdk.middleware]

    assert "OpenTelemetryMiddleware" not in makers
    assert not airflow.requests_to("list_task_instances")
