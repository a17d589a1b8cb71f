"""Calls, repeats, crashes and lost answers in any order, on two processes, by a clock that jumps: one call, one run.

`hypothesis` plays the callers, the network and the operator; the model below knows which calls there were and what may
therefore be in Airflow. The examples are the same in every run; a failing one is printed as the steps that lead to it.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar, cast

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from mcp import Client
from mcp_types import CallToolResult, RequestParamsMeta

from dagcall.assembly import Dagcall, assembled
from dagcall.config import Settings
from dagcall.gate import DEFAULT_LIMIT
from dagcall.identity import number_in
from dagcall.ledger import REPLAY_SECONDS
from tests.fake_airflow import NOTSET, FakeAirflow, FakeDag, FakeParam, FakeRun, FakeTask, Fault
from tests.fake_airflow.wire import Route
from tests.unit.test_calls import text_of
from tests.unit.virtual_time import LoopClock, VirtualTimeLoop

LATENCY_SECONDS = 0.02
STARTING_SECONDS = 120.0
"""Longer than a call takes to get its run, with all its retries."""
ECHO_SECONDS = 120.0
"""How long after trouble Airflow may still be taken to be away."""

X = st.integers(1, 2)
KEY = st.sampled_from(["order-7", "order-8"])
PROCESS = st.integers(0, 1)
WHICH = st.integers(0, 5)
PAUSE = st.sampled_from([0.0, LATENCY_SECONDS / 2, 4 * LATENCY_SECONDS, 1.0, 30.0])

T = TypeVar("T")


@pytest.fixture(autouse=True)
def no_back_off() -> None:
    """Retries are as far apart as ever, by the virtual clock."""


class Line(httpx.AsyncBaseTransport):
    """What connects a process with Airflow. Cut, it swallows everything; what was sent before still takes effect."""

    def __init__(self, airflow: FakeAirflow) -> None:
        self._airflow = airflow
        self.is_cut = False
        self._in_flight = 0
        self.most_in_flight = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut:
            await asyncio.Event().wait()
        is_counted = request.extensions["target"] != b"/auth/token"
        self._in_flight += is_counted
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            answering = asyncio.ensure_future(self._airflow.handle(request))
            answering.add_done_callback(lambda task: task.cancelled() or task.exception())  # its asker may have left
            return await asyncio.shield(answering)
        finally:
            self._in_flight -= is_counted


class Process:
    """A dagcall with one client, until it crashes."""

    def __init__(self, airflow: FakeAirflow, clock: LoopClock) -> None:
        self.line = Line(airflow)
        self._clock = clock
        self._settings = Settings.model_validate(
            {"airflow": {"url": airflow.url, "username": "admin", "password": "admin"}, "dags": ["*"]}
        )
        self.dagcall: Dagcall
        self.client: Client
        self.is_ready = asyncio.Event()
        self._calls = set[asyncio.Task[CallToolResult]]()
        self._serving = asyncio.ensure_future(self._serve())

    async def _serve(self) -> None:
        async with assembled(
            self._settings, wait_seconds=3600, transport=self.line, wall_clock=self._clock.now
        ) as self.dagcall:
            await self.dagcall.catalog.refresh()
            async with Client(self.dagcall.mcp.sdk) as self.client:
                self.is_ready.set()
                await asyncio.Event().wait()

    def call(self, x: int, meta: dict[str, Any]) -> asyncio.Task[CallToolResult]:
        """Call `add`."""
        calling = self.client.call_tool("add", {"x": x}, meta=cast("RequestParamsMeta", meta) or None)
        task = self._serving.get_loop().create_task(calling)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task

    async def crash(self) -> None:
        """End at once: whatever the process would like to tell Airflow at its end does not get there."""
        self.line.is_cut = True
        for task in (*self._calls, self._serving):  # a call in memory runs in its caller's task
            task.cancel()
        await asyncio.gather(*self._calls, self._serving, return_exceptions=True)


@dataclass(eq=False)
class Caller:
    """Somebody who wants one result, and asks again until it is there."""

    x: int
    key: str | None
    first_asked: datetime
    asked: datetime
    runs: int = 1
    """How many runs may have been started for it: 0 if it was told that nothing was, and 2 only if it asked again so
    late that its repeat counts as a new call."""
    asking: asyncio.Task[CallToolResult] | None = None
    told: datetime | None = None
    """When its latest call ended."""
    is_answered: bool = False


class LifeOfCalls(RuleBasedStateMachine):
    """The callers and what befalls them."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.clock = LoopClock(self.loop)
        self.airflow = FakeAirflow(clock=self.clock, steady_streams=True)
        self.airflow.latency_seconds = LATENCY_SECONDS
        total = FakeTask("total", lambda params: params["x"] + 1)
        self.airflow.add_dag(
            FakeDag("add", params={"x": FakeParam(NOTSET, type="integer")}, tasks=[total], checks=None)
        )
        self.faults: list[Fault] = []
        self.is_away = False
        self.troubled_until = self.clock.now() - timedelta(days=1)
        self.callers: list[Caller] = []
        self.run_of_key: dict[str, str] = {}
        self.processes = [self.started(), self.started()]

    def started(self) -> Process:
        async def start() -> Process:
            process = Process(self.airflow, self.clock)
            await process.is_ready.wait()
            return process

        return self.loop.run_until_complete(start())

    # What callers do

    @rule(process=PROCESS, x=X, budget=st.sampled_from([None, None, None, 0.0, 1.0]), pause=PAUSE)
    def call(self, process: int, x: int, budget: float | None, pause: float) -> None:
        self.callers.append(Caller(x, None, self.clock.now(), self.clock.now()))
        self.ask(self.callers[-1], process, budget)
        self.pass_time(pause)

    @rule(process=PROCESS, x=X, key=KEY, pause=PAUSE)
    def call_with_key(self, process: int, x: int, key: str, pause: float) -> None:
        self.callers.append(Caller(x, key, self.clock.now(), self.clock.now()))
        self.ask(self.callers[-1], process)
        self.pass_time(pause)

    @precondition(lambda self: self.askable())
    @rule(which=WHICH, process=PROCESS, pause=PAUSE)
    def repeat(self, which: int, process: int, pause: float) -> None:
        self.ask_again(chosen(self.askable(), which), process)
        self.pass_time(pause)

    @precondition(lambda self: self.asking())
    @rule(which=WHICH, pause=PAUSE)
    def leave(self, which: int, pause: float) -> None:
        caller = chosen(self.asking(), which)
        assert caller.asking
        caller.asking.cancel()
        self.pass_time(pause)

    # What happens in Airflow, on the way there, and to dagcall

    @precondition(lambda self: self.unfinished())
    @rule(which=WHICH, state=st.sampled_from([None, None, None, "failed"]), pause=PAUSE)
    def finish(self, which: int, state: Literal["failed"] | None, pause: float) -> None:
        self.airflow.finish(chosen(self.unfinished(), which), state)
        self.pass_time(pause)

    @rule(
        route=st.sampled_from(["trigger", "trigger", "run", "runs", "wait", "list_runs"]),
        loss=st.sampled_from([httpx.ReadError, httpx.ReadTimeout, 500, 503, 429]),
        after_effect=st.booleans(),
        times=st.integers(1, 5),
    )
    def lose(self, route: Route, loss: int | type[httpx.TransportError], times: int, *, after_effect: bool) -> None:
        if loss == httpx.codes.TOO_MANY_REQUESTS:
            after_effect = False
        error, status = (None, loss) if isinstance(loss, int) else (loss, None)
        fault = Fault(route=route, error=error, status=status, after_effect=after_effect, times=times)
        self.faults.append(self.airflow.add_fault(fault))

    @precondition(lambda self: not self.is_away)
    @rule(pause=PAUSE)
    def airflow_goes_away(self, pause: float) -> None:
        self.is_away = True
        self.airflow.add_fault(Fault(error=httpx.ConnectError, times=None))
        self.pass_time(pause)

    @precondition(lambda self: self.is_away)
    @rule(pause=PAUSE)
    def airflow_comes_back(self, pause: float) -> None:
        self.end_all_trouble()
        self.pass_time(pause)

    @precondition(lambda self: not self.is_away)
    @rule(process=PROCESS)
    def crash_and_restart(self, process: int) -> None:
        self.loop.run_until_complete(self.processes[process].crash())
        self.processes[process] = self.started()

    @rule(seconds=st.sampled_from([1.0, 60.0, REPLAY_SECONDS + 1]))
    def time_passes(self, seconds: float) -> None:
        self.pass_time(seconds)

    # What must hold

    @invariant()
    def no_call_has_two_runs(self) -> None:
        runs = Counter(run.conf["x"] for run in self.airflow.runs if number_in(run.run_id) is not None)
        calls: Counter[int] = Counter()
        for caller in self.callers:
            if caller.key is None:
                calls[caller.x] += caller.runs
        assert runs <= calls, f"runs by argument {runs}, calls {calls}"
        keyed = [run for run in self.airflow.runs if number_in(run.run_id) is None]
        assert len(keyed) <= len({caller.key for caller in self.callers if caller.key and caller.runs})

    @invariant()
    def airflow_is_spared(self) -> None:
        assert all(process.line.most_in_flight <= DEFAULT_LIMIT for process in self.processes)

    def teardown(self) -> None:
        """Let all go well, and see that everybody who still asks is answered, and that nothing is left behind."""
        try:
            self.end_all_trouble()
            for _ in range(10):
                for run in self.unfinished():
                    self.airflow.finish(run)
                self.pass_time(60)
            assert not self.asking(), "a call never ended"
            for process in self.processes:
                assert process.dagcall.waiter.watched == 0
                assert process.dagcall.mcp.calls_in_progress == 0
                assert process.dagcall.waiter.api.rest.gate.in_flight == 0
            for caller in self.askable():
                self.repeat_until_answered(caller)
            self.no_call_has_two_runs()
        finally:
            self.loop.end()

    def repeat_until_answered(self, caller: Caller) -> None:
        self.ask_again(caller, 0)
        self.pass_time(60)
        for run in self.unfinished():
            self.airflow.finish(run)
        self.pass_time(60)
        assert caller.is_answered, "a repeat was not answered"

    # The model

    def asking(self) -> list[Caller]:
        return [caller for caller in self.callers if caller.asking]

    def askable(self) -> list[Caller]:
        return [caller for caller in self.callers if not caller.asking and not caller.is_answered]

    def unfinished(self) -> list[FakeRun]:
        return [run for run in self.airflow.runs if not run.is_final]

    def comes_late(self, caller: Caller) -> bool:
        """Say whether a run that may be the caller's ended so long ago that a repeat counts as a new call."""
        replay = timedelta(seconds=REPLAY_SECONDS)
        return caller.key is None and any(
            run.conf["x"] == caller.x
            and run.end_date is not None
            and caller.first_asked - replay <= run.end_date
            and run.end_date + replay <= self.clock.now() + timedelta(seconds=STARTING_SECONDS)
            for run in self.airflow.runs
        )

    def ask(self, caller: Caller, process: int, budget: float | None = None) -> None:
        meta: dict[str, Any] = {} if caller.key is None else {"dagcall/idempotency_key": caller.key}
        if budget is not None:
            meta["dagcall/wait_seconds"] = budget
        caller.asking = self.processes[process].call(caller.x, meta)
        caller.asking.add_done_callback(lambda _: setattr(caller, "told", self.clock.now()))

    def ask_again(self, caller: Caller, process: int) -> None:
        caller.asked = self.clock.now()
        caller.runs += caller.runs == 0 or self.comes_late(caller)
        self.ask(caller, process)

    def pass_time(self, seconds: float) -> None:
        self.note_trouble()
        self.loop.settle()
        if seconds:
            self.loop.pass_time(seconds)
            self.loop.settle()
        self.note_trouble()
        for caller in self.asking():
            assert caller.asking
            if caller.asking.done():
                self.judge(caller, caller.asking)
                caller.asking = None

    def note_trouble(self) -> None:
        if self.is_away or any(fault.times for fault in self.faults):
            self.troubled_until = self.clock.now() + timedelta(seconds=ECHO_SECONDS)
        self.faults = [fault for fault in self.faults if fault.times]

    def end_all_trouble(self) -> None:
        self.note_trouble()
        self.is_away = False
        self.faults.clear()
        self.airflow.clear_faults()

    # Judging answers

    def judge(self, caller: Caller, asking: asyncio.Task[CallToolResult]) -> None:
        if asking.cancelled():
            return  # it left, or its process crashed
        result = asking.result()
        if result.is_error:
            self.judge_error(caller, text_of(result))
            return
        content = json.loads(text_of(result))
        run = self.airflow.run(content["dag_run_id"])
        assert run.conf == {"x": caller.x}
        if content["state"] == "running":
            return
        assert run.state == content["state"] == "success"
        assert content["results"] == {"total": caller.x + 1}
        self.answered(caller, run)

    def judge_error(self, caller: Caller, text: str) -> None:
        assert caller.told
        is_excused = caller.told <= self.troubled_until
        if text.startswith("Nothing was started: this idempotency key belongs to run "):
            run = self.airflow.run(text.split()[9])
            assert run.conf != {"x": caller.x}
            caller.is_answered = True
        elif text.startswith("Nothing was started: "):
            assert is_excused, text
            caller.runs -= caller.asked == caller.first_asked
        elif text.startswith(("Whether run ", "This call belongs to run ")) or " was started and " in text:
            assert is_excused, text
        else:
            failed = [run for run in self.airflow.runs if run.run_id in text]
            assert [run.state for run in failed] == ["failed"], text
            self.answered(caller, failed[0])

    def answered(self, caller: Caller, run: FakeRun) -> None:
        caller.is_answered = True
        if caller.key is not None:
            assert self.run_of_key.setdefault(caller.key, run.run_id) == run.run_id
            return
        assert run.end_date is not None
        assert run.end_date >= caller.asked - timedelta(seconds=REPLAY_SECONDS), "an old outcome for a new call"


def chosen(among: Sequence[T], which: int) -> T:
    return among[which % len(among)]


def test_equal_calls_that_a_crash_cut_off_find_their_runs_again_though_these_have_ended() -> None:
    life = LifeOfCalls()
    for _ in range(2):
        life.call(process=0, x=1, budget=None, pause=0.5)
    life.crash_and_restart(process=0)
    life.pass_time(0)
    for run in life.unfinished():
        life.airflow.finish(run)
    for _ in range(2):
        life.repeat(which=0, process=1, pause=1.0)

    assert [caller.is_answered for caller in life.callers] == [True, True]
    assert len(life.airflow.runs) == 2
    life.teardown()


def test_whatever_happens_one_call_has_one_run_and_its_answer() -> None:
    run_state_machine_as_test(
        LifeOfCalls,
        settings=settings(
            max_examples=16,
            stateful_step_count=25,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
