"""Metrics: what a server counts, who may read it, and that it agrees with the audit log."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client, MCPError
from mcp.server.transport_security import TransportSecuritySettings
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette

from dagcall.app import Dagcall
from dagcall.auth import SCOPE_KEY, Caller
from dagcall.cli.metrics import metrics_route, only_for
from dagcall.cli.runs import called_runs
from dagcall.mcp.calls import META_WAIT_SECONDS
from dagcall.metrics import METRICS
from dagcall.metrics.metrics import OTHER
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask, Fault
from tests.server.test_calls import add, call, until
from tests.server.test_http import connected, post
from tests.support.collected import Collected
from tests.support.in_memory import Served
from tests.support.scraped import by_label, scraped, total, value
from tests.support.task_client import task_client

HOSTS = TransportSecuritySettings(enable_dns_rebinding_protection=True, allowed_hosts=["dagcall.test"])
ANN = Caller("key:ann", "ann", frozenset(), frozenset())


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def mixed_airflow() -> FakeAirflow:
    """Return an Airflow with a dag that succeeds, one that fails, and one that never ends."""
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.add_dag(FakeDag("fails", params={"n": 1}, tasks=[FakeTask("it", lambda _: 1 / 0)]))
    airflow.add_dag(FakeDag("endless", params={"n": 1}, tasks=[FakeTask("it")], checks=None))
    return airflow


async def refused(dagcall: Dagcall, name: str) -> None:
    """Call a tool that does not exist."""
    async with Client(dagcall.mcp.sdk) as client:
        with pytest.raises(MCPError):
            await client.call_tool(name, {})


async def timed_out(dagcall: Dagcall, n: int) -> None:
    """Call a dag that takes longer than the call waits, which is long enough for its start on a busy machine."""
    async with Client(dagcall.mcp.sdk) as client:
        await client.call_tool("endless", {"n": n}, meta={META_WAIT_SECONDS: 2.0})  # type: ignore[arg-type]


async def leave(dagcall: Dagcall, count: int) -> None:
    """Make calls and leave before their end."""
    calling = [asyncio.create_task(call(dagcall, "endless", n=100 + n)) for n in range(count)]
    await until(lambda: dagcall.waiter.watched == count)
    for each in calling:
        each.cancel()
    await asyncio.gather(*calling, return_exceptions=True)


async def test_metrics_audit_log_and_traces_agree_on_a_mixed_load(
    served: Served, tmp_path: Path, collected: Collected
) -> None:
    """200 calls: successes, failures, time-outs, cancels, refusals, unknown tools, lost answers."""
    airflow, file = mixed_airflow(), tmp_path / "audit.jsonl"
    airflow.add_fault(Fault(route="trigger", status=503))
    airflow.add_fault(Fault(route="trigger", error=httpx.ReadTimeout, after_effect=True))
    airflow.add_fault(Fault(route="run", status=500))

    async with served(airflow, dags=["*"], audit={"file": str(file)}, wait_seconds=60) as dagcall:
        work = [
            *(call(dagcall, "add", "legacy" if n % 2 else "auto", x=n) for n in range(80)),
            *(call(dagcall, "fails", n=n) for n in range(40)),
            *(call(dagcall, "add", x="no number") for _ in range(20)),
            *(refused(dagcall, f"no_such_tool_{n}") for n in range(10)),
        ]
        await asyncio.gather(*work)
        await asyncio.gather(*(timed_out(dagcall, n) for n in range(30)))
        await leave(dagcall, 10)
        handles = [line["run"] for line in lines(file) if line["outcome"] == "running"][:5]
        for name in ("cancel_dag_run", "wait_for_dag_run"):
            await asyncio.gather(*(call(dagcall, name, tool="endless", dag_run_id=run_id) for run_id in handles))
        samples, triggered, requested = scraped(dagcall), len(airflow.requests_to("trigger")), len(airflow.requests)
        runs = {run.run_id for run in airflow.runs if run.is_final and run.start_date}
        listed = await called_runs(dagcall.waiter.api, 1000)
        await until(lambda: len(run_spans_in(collected)) == len(runs))

    logged = lines(file)
    assert len(logged) == 200
    counted = by_label(samples, "dagcall_requests_total", "outcome")
    assert counted == Counter((line["outcome"],) for line in logged)
    assert counted[("success",)] == 80
    assert counted[("left",)] == 10
    unanswered = [line for line in logged if line["outcome"] == "airflow"]
    assert unanswered == [], "faults that Airflow recovers from end no call"
    assert set(counted) == {("success",), ("failed",), ("running",), ("refused",), ("left",)}
    published = {"add", "fails", "endless", "cancel_dag_run", "wait_for_dag_run"}
    states = Counter(run.state for run in listed)
    assert {run.run_id for run in listed} == {line["run"] for line in logged if line.get("run")}
    assert (states["success"], states["failed"], states["cancelled"]) == (80, 40, len(handles))
    called = Counter(name if (name := line["method"].split()[1]) in published else "" for line in logged)
    assert by_label(samples, "dagcall_requests_total", "tool") == Counter({(name,): n for name, n in called.items()})
    assert total(samples, "mcp_server_operation_duration_seconds_count", mcp_method_name="tools/call") == 200
    assert value(samples, "dagcall_requests_in_progress") == value(samples, "dagcall_runs_waited_for") == 0
    assert not total(samples, "dagcall_airflow_requests_total", endpoint="other")
    triggers = total(samples, "dagcall_airflow_requests_total", endpoint="/api/v2/dags/{dag_id}/dagRuns", method="POST")
    assert triggers == triggered
    assert 0 <= requested - total(samples, "dagcall_airflow_requests_total") < 10  # some may be in flight
    served_spans = [
        span for span in collected.all if span.name.startswith("tools/call") and span.kind is SpanKind.SERVER
    ]
    assert Counter((dict(span.attributes or {})["dagcall.outcome"],) for span in served_spans) == counted
    assert Counter(run_spans_in(collected)) == Counter(runs), "each run that has started and ended has one span"


def run_spans_in(collected: Collected) -> list[str]:
    """Return the run of each span of a run."""
    spans = [span for span in collected.all if span.name.startswith("dag_run ")]
    return [str(dict(span.attributes or {})["airflow.dag_run.run_id"]) for span in spans]


async def test_phases_of_a_call_are_measured(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    async with served(airflow) as dagcall:
        held = airflow.hold("trigger")
        calling = asyncio.create_task(call(dagcall, "add", x=1))
        await held.arrived()
        samples = scraped(dagcall)
        held.release()
        await calling
        after = scraped(dagcall)

    assert value(samples, "dagcall_airflow_in_flight", purpose="trigger") == 1
    assert value(samples, "dagcall_requests_in_progress") == 1
    for phase in ("line", "start", "run", "answer"):
        assert value(after, "dagcall_call_phase_seconds_count", phase=phase) == 1
    assert value(after, "dagcall_airflow_in_flight", purpose="trigger") == 0


async def test_unknown_names_never_become_labels(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    async with served(airflow) as dagcall, Client(dagcall.mcp.sdk) as client:
        for name in ("invented", "x" * 1000, "add\n"):
            with pytest.raises(MCPError):
                await client.call_tool(name, {})
        with pytest.raises(MCPError):
            await client.read_resource("dagcall://runs/invented/mcp__1/results")
        async with connected(dagcall) as http:
            await post(http, "invented/method", {}, revision="2025-06-18")
        content, _ = dagcall.metrics.text("text/plain")
        samples = scraped(dagcall)

    assert b"invented" not in content
    assert b"xxx" not in content
    assert value(samples, "dagcall_requests_total", method="tools/call", tool="", outcome="refused") == 3
    assert value(samples, "dagcall_requests_total", method="resources/read", tool="", outcome="refused") == 1
    assert total(samples, "mcp_server_operation_duration_seconds_count", gen_ai_tool_name=OTHER) == 3
    assert total(samples, "mcp_server_operation_duration_seconds_count", mcp_method_name=OTHER) == 1


async def test_catalog_gate_and_log_ins_are_shown(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.add_dag(FakeDag("paused", is_paused=True))
    async with served(airflow, dags=["*", "missing"]) as dagcall:
        samples = scraped(dagcall)
        for _ in range(5):
            dagcall.waiter.api.rest.gate.failed(is_overload=False)
        broken = scraped(dagcall)

    assert value(samples, "dagcall_catalog_tools") == 1
    assert value(samples, "dagcall_catalog_withheld", kind="cannot_run") == 1
    assert value(samples, "dagcall_catalog_withheld", kind="missing") == 1
    assert value(samples, "dagcall_catalog_withheld", kind="pin") == 0
    assert 0 <= value(samples, "dagcall_catalog_age_seconds") < 60
    assert value(samples, "dagcall_airflow_log_ins_total", outcome="success") == 1
    assert value(samples, "dagcall_airflow_in_flight_limit") >= 1
    assert (value(samples, "dagcall_airflow_breaker_open"), value(samples, "dagcall_ready")) == (0, 1)
    assert (value(broken, "dagcall_airflow_breaker_open"), value(broken, "dagcall_ready")) == (1, 0)


async def test_refused_log_in_is_counted(served: Served) -> None:
    async with served(FakeAirflow(), dags=["*"], airflow={"password": "wrong"}) as dagcall:
        samples = scraped(dagcall)

    assert value(samples, "dagcall_airflow_log_ins_total", outcome="refused") == 1
    assert ("dagcall_catalog_age_seconds", frozenset()) not in samples
    assert value(samples, "dagcall_ready") == 0


async def test_two_servers_count_separately(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    async with served(airflow) as one, served(airflow) as two:
        await call(one, "add", x=1)
        counts = [value(scraped(each), "dagcall_call_phase_seconds_count", phase="run") for each in (one, two)]

    assert counts == [1, 0]


async def test_tasks_are_counted_at_their_start_and_at_delivery(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    async with served(airflow) as dagcall, task_client(dagcall.mcp.sdk) as client:
        await client.until((await client.call("add", {"x": 1}))["taskId"])
        samples = scraped(dagcall)

    assert value(samples, "dagcall_requests_total", method="tools/call", tool="add", outcome="task") == 1
    assert value(samples, "dagcall_requests_total", method="tasks/get", tool="add", outcome="success") == 1


async def test_exported_metrics_are_those_of_the_table(served: Served) -> None:
    async with served(FakeAirflow()) as dagcall:
        content, content_type = dagcall.metrics.text("")
    declared = {line.split()[2] for line in content.decode().splitlines() if line.startswith("# TYPE dagcall_")}
    described = {metric.exported_name for metric in METRICS if metric.name.startswith("dagcall_")}
    created = {f"{metric.name}_created" for metric in METRICS}

    assert declared - created == described
    assert content_type.startswith("text/plain")


# Who may read them


@asynccontextmanager
async def reader(dagcall: Dagcall, caller: Caller | None, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Connect to the route as a caller that the middleware has admitted."""
    app = Starlette(routes=[metrics_route(dagcall.metrics, hosts=HOSTS, **more)])

    async def admitted(scope: Any, receive: Any, send: Any) -> None:
        if caller is not None:
            scope[SCOPE_KEY] = caller
        await app(scope, receive, send)

    transport = httpx.ASGITransport(admitted)
    async with httpx.AsyncClient(transport=transport, base_url="http://dagcall.test") as http:
        yield http


async def test_open_route_answers_in_prometheus_format_but_not_to_other_hosts(served: Served) -> None:
    async with served(FakeAirflow()) as dagcall, reader(dagcall, None) as http:
        answer = await http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        foreign = await http.get("/metrics", headers={"Host": "attacker.example"})

    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert foreign.status_code == 421


@pytest.mark.parametrize(
    ("selectors", "caller", "status"),
    [(("key:ann",), ANN, 200), (("key:bob",), ANN, 403), ((), ANN, 403), (("*",), ANN, 200), (("*",), None, 403)],
)
async def test_with_authentication_only_named_callers_read_them(
    served: Served, selectors: tuple[str, ...], caller: Caller | None, status: int
) -> None:
    async with served(FakeAirflow()) as dagcall, reader(dagcall, caller, is_allowed=only_for(selectors)) as http:
        answer = await http.get("/metrics")

    assert answer.status_code == status
    assert ("dagcall_ready" in answer.text) == (status == 200)
