"""Calls through two dagcalls, two api-servers and two Celery workers; one of each is killed."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from mcp import Client
from mcp_types import CallToolResult

from dagcall.runs.delivery_marks import MARK
from tests.faults.record import Json, Record, until
from tests.proof import record as proof
from tests.scale.balancing import location, upstream
from tests.scale.callers import MODES, Mode, PersistentCaller, call, call_all
from tests.scale.deployment import API_SERVER, TASKS_PER_WORKER, WORKER, Deployment, answers, deployment
from tests.scale.section import ROWS
from tests.support.clients import text_of
from tests.support.nginx import nginx
from tests.support.task_client import FINAL, task_client
from tests.support.terminal import terminal_of

pytestmark = [pytest.mark.long, pytest.mark.asyncio(loop_scope="module")]

SOME_SECONDS = 5.0
"""How long a task of `slow` takes."""
NGINX_FAIL_SECONDS = 10.0
"""How long nginx leaves out a server after an error (`fail_timeout`)."""
LONGEST_PROGRESS_SECONDS = 20.0
"""The first progress comes before: not held back by nginx until the end of the call."""
_numbers = itertools.count(1)


class Findings:
    """What the tests measured.

    Args:
        tell: called with each finding.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._began = time.monotonic()
        self.found: dict[str, Any] = {}

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def add(self, name: str, **figures: float) -> None:
        self.found[name] = figures
        self._tell(f"{name}: {figures}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path_factory.mktemp("scale"), terminal_of(request.config)) as found:
        await call_all(found.url, "add", numbers(8))  # until both workers have started and read the dags
        yield found


@pytest.fixture(scope="module")
def findings(request: pytest.FixtureRequest) -> Findings:
    return Findings(terminal_of(request.config))


def numbers(count: int) -> range:
    """Return arguments that no other test uses."""
    first = next(_numbers) * 1000
    return range(first, first + count)


async def runs_of(record: Record, dag_id: str, xs: range) -> dict[int, Json]:
    """Return the runs with these arguments, by argument; check that none has two."""
    runs = await record.runs_from(dag_id, xs.start)
    return {x: run for x, run in runs.items() if x in xs}


async def until_some(record: Record, dag_id: str, xs: range, count: int, *, ended: bool) -> None:
    """Wait until this many calls have a run, or one that has ended."""

    async def look() -> bool:
        runs = await runs_of(record, dag_id, xs)
        return sum(1 for run in runs.values() if run["end_date"] or not ended) >= count

    await until(look)


async def all_are_marked(record: Record, dag_id: str, xs: range) -> bool:
    """Return whether the other dagcall can see that all outcomes were delivered."""
    return all(MARK in (run["note"] or "") for run in (await runs_of(record, dag_id, xs)).values())


async def require_own_results(record: Record, dag_id: str, xs: range, found: list[CallToolResult]) -> dict[int, Json]:
    """Check that each call has one run and got its result; return the runs."""
    runs = await runs_of(record, dag_id, xs)
    assert sorted(runs) == list(xs)
    for x, answer in zip(xs, found, strict=True):
        record.require_answer(answer, runs[x])
        assert await record.xcom(runs[x]) == x + 1
    return runs


async def test_hundred_parallel_calls_each_get_the_result_of_their_own_run(
    running: Deployment, findings: Findings
) -> None:
    xs, began = numbers(100), time.monotonic()

    found = await call_all(running.url, "add", xs)

    seconds = time.monotonic() - began
    await require_own_results(running.record, "add", xs, found)
    findings.add("parallel", calls=len(xs), right=len(xs), runs=len(xs), seconds=round(seconds, 1))


@pytest.mark.parametrize("phase", ["starting", "running"])
async def test_killed_api_server_costs_no_call(running: Deployment, findings: Findings, phase: str) -> None:
    await until(partial(answers, running.api_server))
    await asyncio.sleep(NGINX_FAIL_SECONDS)  # until nginx asks it again, after the previous kill
    xs, broken = numbers(30), running.broken_requests()
    calling = asyncio.create_task(call_all(running.url, "add", xs))
    await until_some(running.record, "add", xs, 5, ended=phase == "running")

    killed_at = time.monotonic()
    await running.airflow.kill(API_SERVER)
    assert not calling.done()
    running.airflow.revive(API_SERVER)

    found = await calling
    seconds = time.monotonic() - killed_at
    await require_own_results(running.record, "add", xs, found)
    await until(partial(all_are_marked, running.record, "add", xs))
    broken = running.broken_requests() - broken
    assert broken > 0
    findings.add(
        f"api_server_{phase}", calls=len(xs), right=len(xs), runs=len(xs), seconds=round(seconds, 1), broken=broken
    )


@pytest.mark.parametrize("dag_id", ["slow", "slow_with_a_retry"])
async def test_killed_worker_fails_only_its_own_tasks_without_retries(
    running: Deployment, findings: Findings, dag_id: str
) -> None:
    xs = numbers(20)
    calling = asyncio.create_task(call_all(running.url, dag_id, xs))
    await until_some(running.record, dag_id, xs, 4, ended=True)
    await asyncio.sleep(SOME_SECONDS / 2)  # until all slots have a task again

    killed_at = time.monotonic()
    await running.airflow.kill(WORKER)
    running.airflow.revive(WORKER)

    found = await calling
    seconds = time.monotonic() - killed_at
    runs = await runs_of(running.record, dag_id, xs)
    assert sorted(runs) == list(xs)
    failed = 0
    for x, answer in zip(xs, found, strict=True):
        if answer.is_error and dag_id == "slow":
            assert runs[x]["state"] == "failed"
            assert runs[x]["dag_run_id"] in text_of(answer)
            failed += 1
        else:
            running.record.require_answer(answer, runs[x])
    retried = sum([await running.record.tries(run) > 1 for run in runs.values()])
    assert 0 < failed + retried <= TASKS_PER_WORKER
    findings.add(
        f"worker_{dag_id}",
        calls=len(xs),
        right=len(xs) - failed,
        runs=len(runs),
        seconds=round(seconds, 1),
        **({"retried": retried} if retried else {}),
    )


async def test_calls_of_a_killed_dagcall_get_the_same_runs_from_the_other(
    running: Deployment, findings: Findings
) -> None:
    xs = numbers(20)
    callers = [PersistentCaller(running.url, "held", x, MODES[x % 2]) for x in xs]
    calling = [asyncio.create_task(caller.answer()) for caller in callers]
    await until_some(running.record, "held", xs, len(xs), ended=False)
    before = await runs_of(running.record, "held", xs)
    killed, _ = running.replicas

    killed_at = time.monotonic()
    await killed.kill()
    await asyncio.sleep(3)  # until the callers have called again, and the other dagcall waits for all
    await runs_of(running.record, "held", xs)  # no second run, whose call would wait in vain
    for run in before.values():
        await running.record.end(run)
    found = await asyncio.gather(*calling)

    seconds = time.monotonic() - killed_at
    await killed.start()
    lost = sum(caller.lost for caller in callers)
    assert 0 < sum(caller.lost > 0 for caller in callers) < len(xs)
    runs = await require_own_results(running.record, "held", xs, found)
    assert {x: run["dag_run_id"] for x, run in runs.items()} == {x: run["dag_run_id"] for x, run in before.items()}
    findings.add("dagcall", calls=len(xs), right=len(xs), runs=len(runs), lost=lost, seconds=round(seconds, 1))


async def test_calls_longer_than_the_time_outs_of_nginx_get_progress_and_their_results(
    running: Deployment, findings: Findings
) -> None:
    xs, began = numbers(2), time.monotonic()
    seen: dict[Mode, list[float]] = {mode: [] for mode in MODES}

    async def long_call(mode: Mode, x: int) -> CallToolResult:
        async def on_progress(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001 - the SDK's signature
            seen[mode].append(time.monotonic() - began)

        return await call(running.url, "minute", x, mode, on_progress)

    found = await asyncio.gather(*(long_call(mode, x) for mode, x in zip(MODES, xs, strict=True)))

    seconds = time.monotonic() - began
    await require_own_results(running.record, "minute", xs, found)
    first, messages = max(times[0] for times in seen.values()), min(len(times) for times in seen.values())
    assert first < LONGEST_PROGRESS_SECONDS
    findings.add(
        "long_call", calls=2, right=2, runs=2, seconds=round(seconds, 1), progress=messages, first=round(first, 1)
    )


async def test_task_is_polled_by_turns_at_both_dagcalls(running: Deployment, findings: Findings) -> None:
    (x,) = xs = numbers(1)
    began, polls, before = time.monotonic(), 0, running.served()
    async with task_client(running.url) as client:
        task = await client.call("minute", {"x": x})
        while task["status"] not in FINAL:
            await asyncio.sleep(task["pollIntervalMs"] / 1000)
            task = await client.get(task["taskId"])
            polls += 1

    seconds = time.monotonic() - began
    assert task["status"] == "completed"
    assert min((running.served() - before)[replica.address] for replica in running.replicas) >= polls // 2
    answer = CallToolResult.model_validate(task["result"])
    await require_own_results(running.record, "minute", xs, [answer])
    findings.add("long_task", calls=1, right=1, runs=1, seconds=round(seconds, 1), polls=polls)


async def test_run_started_by_one_dagcall_is_awaited_and_read_at_the_other(
    running: Deployment, findings: Findings
) -> None:
    (x,) = xs = numbers(1)
    first, other = running.replicas
    began = time.monotonic()
    meta: Any = {"dagcall/wait_seconds": 0.5}
    async with Client(first.url) as client:
        handle = (await client.call_tool("slow", {"x": x}, meta=meta)).structured_content or {}
    assert handle["state"] in {"queued", "running"}
    the_run = {"tool": "slow", "dag_run_id": handle["dag_run_id"]}

    async with Client(other.url) as client:
        answer = await client.call_tool("wait_for_dag_run", the_run)
        part = await client.call_tool("read_dag_result", {**the_run, "path": "/total"})

    seconds = time.monotonic() - began
    await require_own_results(running.record, "slow", xs, [answer])
    assert str(x + 1) in text_of(part)
    findings.add("other_replica", calls=1, right=1, runs=1, seconds=round(seconds, 1))


async def test_proxy_that_changes_the_host_is_refused(running: Deployment, tmp_path: Path) -> None:
    shown = location("dagcall")
    without = shown.replace("    proxy_set_header Host $http_host;\n", "")
    assert without != shown
    addresses = [replica.address for replica in running.replicas]
    async with (
        nginx(tmp_path, without, upstream("dagcall", addresses)) as proxy,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        answer = await http.post(f"{proxy}/mcp", json={})
    assert answer.status_code == httpx.codes.MISDIRECTED_REQUEST


async def test_findings_are_kept(findings: Findings) -> None:
    """Write a part of docs/proof.md after a whole run."""
    if findings.found.keys() != ROWS.keys():
        pytest.skip("only a whole run is kept")
    proof.write("scale", findings.found, seconds=findings.seconds)
