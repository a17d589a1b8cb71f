"""One call, one run: calls, repeats, crashes and lost answers in random order, on two processes in virtual time.

`hypothesis` plays the callers, the network, Airflow's users and the operator; `life.record` checks the invariants.
Each test run uses a new seed. A failing run prints its seed and the steps:

    DAGCALL_SEED=… pytest tests/server/test_life_of_calls.py         repeats the examples of a run
    DAGCALL_EXAMPLES=2000 pytest tests/server/test_life_of_calls.py  explores for about 10 minutes
"""

import os
import random
import secrets
import signal
import sys
from collections.abc import Sequence
from typing import Literal, TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dagcall.airflow.gate import DEFAULT_CEILING, STREAMING_LIMIT
from dagcall.runs.delivery_marks import MAX_NOTE
from dagcall.runs.ledger import REPLAY_SECONDS
from tests.fake_airflow import FakeRun, Hold
from tests.fake_airflow.wire import Route
from tests.server.life.callers import Attempt, Caller, Kind
from tests.server.life.record import Record
from tests.server.life.world import LATENCY_SECONDS, POLICIES, Process, Trouble
from tests.support.virtual_time import VirtualTimeLoop

SEED = int(os.environ.get("DAGCALL_SEED") or secrets.randbits(32))  # noqa: TID251 - configures the test, not dagcall
EXAMPLES = int(os.environ.get("DAGCALL_EXAMPLES") or 25)  # noqa: TID251 - likewise
LONG_SECONDS = 10 * EXAMPLES
"""They take 0.2 s each. After this time, they tell their seed, which pytest's time-out would not show."""
MOST_CALLERS = 12
DRAINED_SECONDS = 1.6
"""How soon after a drain every waiting call must have its answer."""

TOOL = st.sampled_from(sorted(POLICIES))
X = st.sampled_from([1, 1, 1, 2])
KEY = st.sampled_from(["order-7", "order-8"])
PROCESS = st.integers(0, 1)
WHICH = st.integers(0, 5)
KIND: st.SearchStrategy[Kind] = st.sampled_from(["call", "call", "call", "task"])
BUDGET = st.sampled_from([3600.0, 3600.0, 0.0, 1.0, 20.0])
PAUSE = st.sampled_from([0.0, LATENCY_SECONDS / 2, 4 * LATENCY_SECONDS, 1.0, 30.0])
OUTCOME: st.SearchStrategy[Literal["success", "failed"]] = st.sampled_from(["success", "failed"])

T = TypeVar("T")


@pytest.fixture(autouse=True)
def no_back_off() -> None:
    """Keep the normal pauses between retries; they pass in virtual time."""


@pytest.fixture(autouse=True)
def no_other_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw all random numbers from the example's seed, so that it can be repeated."""
    monkeypatch.setattr(secrets, "randbelow", random.randrange)


class LifeOfCalls(RuleBasedStateMachine):
    """The callers and everything that can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.record = Record(self.loop)
        self.airflow = self.record.airflow
        self.tools = ("adopt", "adopt")
        self.is_away = False
        self.no_way_until = 0.0
        self.holds: list[Hold] = []
        for _ in range(2):
            self.record.processes.append(self.started())

    def started(self) -> Process:
        async def start() -> Process:
            process = Process(self.airflow, self.loop)
            await process.is_ready.wait()
            return process

        return self.loop.run_until_complete(start())

    @initialize(first=TOOL, second=TOOL)
    def choose_tools(self, first: str, second: str) -> None:
        self.tools = (first, second)

    # Callers

    @precondition(lambda self: self.has_room())
    @rule(process=PROCESS, is_other=st.booleans(), x=X, kind=KIND, budget=BUDGET, pause=PAUSE, is_moving=st.booleans())
    def call(
        self, process: int, x: int, kind: Kind, budget: float, pause: float, *, is_other: bool, is_moving: bool
    ) -> None:
        caller = self.a_caller(Caller(self.tools[is_other], x, None, kind))
        self.ask(caller, process, budget=budget, others=(1 - process,) if is_moving else ())
        self.pass_time(pause)

    @precondition(lambda self: self.has_room())
    @rule(process=PROCESS, is_other=st.booleans(), x=X, key=KEY, kind=KIND, budget=BUDGET, pause=PAUSE)
    def call_with_key(
        self, process: int, x: int, kind: Kind, budget: float, pause: float, *, key: str, is_other: bool
    ) -> None:
        caller = self.a_caller(Caller(self.tools[is_other], x, key, kind))
        self.ask(caller, process, budget=budget)
        self.pass_time(pause)

    @precondition(lambda self: self.has_room())
    @rule(process=PROCESS, count=st.integers(2, 4), x=X, pause=PAUSE)
    def call_together(self, process: int, count: int, x: int, pause: float) -> None:
        for _ in range(count):
            self.ask(self.a_caller(Caller(self.tools[0], x, None, "call")), process)
        self.pass_time(pause)

    @precondition(lambda self: self.askable())
    @rule(which=WHICH, process=PROCESS, budget=BUDGET, pause=PAUSE)
    def repeat(self, which: int, process: int, budget: float, pause: float) -> None:
        self.ask(chosen(self.askable(), which), process, budget=budget)
        self.pass_time(pause)

    @precondition(lambda self: self.informed())
    @rule(which=WHICH, process=PROCESS, budget=BUDGET, pause=PAUSE)
    def wait_for_a_known_run(self, which: int, process: int, budget: float, pause: float) -> None:
        self.ask(chosen(self.informed(), which), process, kind="wait", budget=budget)
        self.pass_time(pause)

    @precondition(lambda self: self.asking())
    @rule(which=WHICH, pause=PAUSE)
    def leave(self, which: int, pause: float) -> None:
        chosen(self.asking(), which).asking.cancel()
        self.pass_time(pause)

    @precondition(lambda self: self.asking())
    @rule(which=WHICH, away=st.sampled_from([0.02, 0.5, 2.5, 4.0]), process=PROCESS, stays=st.sampled_from([1.0, 4.0]))
    def leave_and_come_back(self, which: int, away: float, process: int, stays: float) -> None:
        attempt = chosen(self.asking(), which)
        attempt.asking.cancel()
        self.pass_time(away)
        caller = attempt.caller
        if caller.run_id is not None:
            self.ask(caller, process, kind="wait")
        elif caller in self.askable():
            self.ask(caller, process)
        self.pass_time(stays)

    @precondition(lambda self: self.asking())
    @rule(which=WHICH, pause=PAUSE)
    def give_up_without_a_word(self, which: int, pause: float) -> None:
        chosen(self.asking(), which).is_heard = False
        self.pass_time(pause)

    @precondition(lambda self: self.informed())
    @rule(which=WHICH, process=PROCESS, pause=PAUSE)
    def cancel_the_run(self, which: int, process: int, pause: float) -> None:
        caller = chosen(self.informed(), which)
        client = self.record.processes[process].client
        arguments = {"tool": caller.tool, "dag_run_id": caller.run_id}
        self.record.is_being_cancelled(caller)
        asking = self.record.processes[process].begin(client.call("cancel_dag_run", arguments))
        self.pass_time(LATENCY_SECONDS * 5)
        if asking.done() and not asking.result().get("isError"):
            self.record.was_cancelled(caller, asking.result())
        self.pass_time(pause)

    # Users of Airflow

    @precondition(lambda self: self.record.unfinished())
    @rule(which=WHICH, pause=PAUSE)
    def finish(self, which: int, pause: float) -> None:
        self.airflow.finish(chosen(self.record.unfinished(), which))
        self.pass_time(pause)

    @precondition(lambda self: self.record.unfinished())
    @rule(which=WHICH, state=OUTCOME, pause=PAUSE)
    def set_by_hand(self, which: int, state: Literal["success", "failed"], pause: float) -> None:
        run = chosen(self.record.unfinished(), which)
        self.record.disturbed.add(run)
        self.airflow.finish(run, state)
        self.pass_time(pause)

    @precondition(lambda self: self.finished())
    @rule(which=WHICH, pause=PAUSE)
    def clear(self, which: int, pause: float) -> None:
        run = chosen(self.finished(), which)
        self.record.disturbed.add(run)
        self.record.first_end_of.setdefault(run, run.end_date)
        self.airflow.clear(run)
        self.pass_time(pause)

    @precondition(lambda self: self.deletable())
    @rule(which=WHICH, pause=PAUSE)
    def delete(self, which: int, pause: float) -> None:
        run = chosen(self.deletable(), which)
        self.record.disturbed.add(run)
        self.airflow.delete(run)
        self.pass_time(pause)

    @precondition(lambda self: self.airflow.runs)
    @rule(which=WHICH, is_before=st.booleans(), length=st.sampled_from([1, 1, 100, 900]))
    def write_a_note(self, which: int, length: int, *, is_before: bool) -> None:
        """Edit a note, and keep the edit only if dagcall did not overwrite it by writing at the same moment."""
        run = chosen(self.airflow.runs, which)
        note = run.note or ""
        text = f"<{len(self.record.edits)} see OPS-17 {'!' * length}"[: MAX_NOTE - len(note) - 1]
        run.note = f"{text} {note}" if is_before else f"{note} {text}"
        self.pass_time(1.0)
        if text in run.note:
            self.record.edits.append((run, text))

    # Faults of the network, of Airflow and of dagcall

    @rule(
        route=st.sampled_from(["trigger", "trigger", "run", "runs", "wait", "list_runs", "patch_run", "patch_runs"]),
        loss=st.sampled_from([httpx.ReadError, httpx.ReadTimeout, 500, 503, 429, "404 page not found", "<html>"]),
        after_effect=st.booleans(),
        times=st.integers(1, 5),
    )
    def lose(
        self, route: Route, loss: int | str | type[httpx.TransportError], times: int, *, after_effect: bool
    ) -> None:
        fault = Trouble(route=route, after_effect=after_effect and loss != 429, times=times)
        if isinstance(loss, int):
            fault.status = loss
        elif isinstance(loss, str):
            fault.status, fault.body = 404 if "404" in loss else 200, loss
        else:
            fault.error = loss
        self.airflow.add_fault(fault)

    @rule(status=st.sampled_from([400, 403, 422]), times=st.integers(1, 3), is_after_a_lost_answer=st.booleans())
    def refuse_to_start(self, status: int, times: int, *, is_after_a_lost_answer: bool) -> None:
        if is_after_a_lost_answer:
            self.airflow.add_fault(Trouble(route="trigger", error=httpx.ReadError, after_effect=True))
        self.airflow.add_fault(Trouble(route="trigger", status=status, times=times))

    @precondition(lambda self: not self.is_away)
    @rule(seconds=st.sampled_from([1.0, 6.0, 60.0]), is_after_a_lost_answer=st.booleans())
    def a_proxy_loses_its_route(self, seconds: float, *, is_after_a_lost_answer: bool) -> None:
        if is_after_a_lost_answer:
            self.airflow.add_fault(Trouble(route="trigger", error=httpx.ReadError, after_effect=True))
            if not self.asking():
                return
        ends_at = self.loop.time() + seconds
        self.no_way_until = max(self.no_way_until, ends_at)
        self.airflow.add_fault(
            Trouble(status=404, body="404 page not found", times=None, when=lambda _: self.loop.time() < ends_at)
        )

    @rule(seconds=st.sampled_from([30.0, 300.0]))
    def refuse_to_note_on_many_runs_at_once(self, seconds: float) -> None:
        ends_at = self.loop.time() + seconds
        self.airflow.add_fault(
            Trouble(
                route="patch_runs",
                status=403,
                times=None,
                when=lambda _: self.loop.time() < ends_at,
                is_excuse=False,
            )
        )

    @rule(after_effect=st.booleans())
    def hold_a_start(self, *, after_effect: bool) -> None:
        hold = Hold()
        self.holds.append(hold)
        self.airflow.add_fault(Trouble(route="trigger", hold=hold, after_effect=after_effect))

    @precondition(lambda self: self.holds)
    @rule(pause=PAUSE)
    def release_what_is_held(self, pause: float) -> None:
        for hold in self.holds:
            hold.release()
        self.holds.clear()
        self.pass_time(pause)

    @precondition(lambda self: not self.is_away)
    @rule(pause=PAUSE)
    def airflow_goes_away(self, pause: float) -> None:
        self.is_away = True
        self.airflow.add_fault(Trouble(error=httpx.ConnectError, times=None))
        self.pass_time(pause)

    @precondition(lambda self: self.is_away)
    @rule(pause=PAUSE)
    def airflow_comes_back(self, pause: float) -> None:
        self.end_all_trouble()
        self.pass_time(pause)

    @rule(process=PROCESS)
    def crash_and_restart(self, process: int) -> None:
        self.loop.run_until_complete(self.record.processes[process].crash())
        self.restart(process)

    @rule(process=PROCESS, is_calling=st.booleans(), patience=st.sampled_from([0.0, 0.0, 5.0]))
    def drain_and_restart(self, process: int, patience: float, *, is_calling: bool) -> None:
        """Shut down as `serve` does on SIGTERM."""
        ending = self.record.processes[process]
        if is_calling:
            self.ask(self.a_caller(Caller(self.tools[0], 1, None, "call")), process)
        ending.begin_stop()
        self.pass_time(patience)
        self.loop.call_soon(ending.dagcall.runs.drain)
        self.pass_time(DRAINED_SECONDS)
        late = [attempt.number for attempt in self.asking() if attempt.process is ending and attempt.kind != "task"]
        assert not late, f"attempts {late} have no answer after the drain"
        self.loop.run_until_complete(ending.stop())
        self.restart(process)

    def restart(self, process: int) -> None:
        if self.is_away or self.loop.time() < self.no_way_until:
            self.end_all_trouble()  # otherwise it would have no tools
        self.record.processes[process] = self.started()
        self.pass_time(0)

    @rule(seconds=st.sampled_from([1.0, 3.0, 60.0, REPLAY_SECONDS + 20]))
    def time_passes(self, seconds: float) -> None:
        self.pass_time(seconds)

    # Invariants

    @invariant()
    def all_is_well(self) -> None:
        self.record.look()
        assert all(
            process.line.most_in_flight <= DEFAULT_CEILING + STREAMING_LIMIT // 2 for process in self.record.processes
        )

    def teardown(self) -> None:
        """Finish the example, unless it has already failed."""
        try:
            if sys.exception() is None:
                self.see_it_through()
        finally:
            self.loop.end()

    def see_it_through(self) -> None:
        """End all faults, and check that every caller gets an answer and that nothing is left behind."""
        self.end_all_trouble()
        self.release_what_is_held(0)
        for _ in range(3):
            self.finish_all()
            self.pass_time(60)
        pending = [attempt.number for attempt in self.record.attempts if attempt.is_pending]
        assert not pending, f"attempts {pending} never ended"
        for caller in self.askable():
            self.ask(caller, 0)
            self.pass_time(60)
            self.finish_all()
            self.pass_time(60)
            assert caller.is_done, "a repeat was not answered"
        for process in self.record.processes:
            assert process.dagcall.waiter.watched == 0
            assert process.dagcall.mcp.intake.in_progress == 0
            assert process.dagcall.waiter.api.rest.gate.in_flight == 0
        self.all_is_well()

    def finish_all(self) -> None:
        for run in self.record.unfinished():
            self.airflow.finish(run)

    # Selections

    def a_caller(self, caller: Caller) -> Caller:
        self.record.callers.append(caller)
        return caller

    def ask(
        self,
        caller: Caller,
        process: int,
        *,
        kind: Kind | None = None,
        budget: float = 3600.0,
        others: tuple[int, ...] = (),
    ) -> None:
        self.record.ask(caller, self.record.processes[process], kind=kind, budget=budget, others=others)

    def has_room(self) -> bool:
        return len(self.record.callers) < MOST_CALLERS

    def asking(self) -> list[Attempt]:
        return [attempt for caller in self.record.callers if (attempt := caller.asking) is not None]

    def askable(self) -> list[Caller]:
        """Return the callers that may repeat their call."""
        return [
            caller
            for caller in self.record.callers
            if not caller.is_done and not caller.asking and (caller.is_of_family or caller.key is not None)
        ]

    def informed(self) -> list[Caller]:
        """Return the callers that know a run id and are not waiting for it."""
        return [
            caller
            for caller in self.record.callers
            if caller.run_id is not None and not caller.is_done and not caller.asking
        ]

    def finished(self) -> list[FakeRun]:
        return [run for run in self.airflow.runs if run.is_final]

    def deletable(self) -> list[FakeRun]:
        return [run for run in self.airflow.runs if run.state != "running"]

    # Time

    def pass_time(self, seconds: float) -> None:
        self.loop.settle()
        if seconds:
            self.loop.pass_time(seconds)
            self.loop.settle()
        self.record.judge_all()

    def end_all_trouble(self) -> None:
        self.is_away = False
        self.airflow.clear_faults()


def chosen(among: Sequence[T], which: int) -> T:
    return among[which % len(among)]


def test_identical_calls_adopt_their_finished_runs_after_a_crash() -> None:
    life = LifeOfCalls()
    for _ in range(2):
        life.call(process=0, x=1, kind="call", budget=3600, pause=0, is_other=False, is_moving=False)
    life.pass_time(1)
    life.crash_and_restart(process=0)
    life.finish_all()
    for _ in range(2):
        life.repeat(which=0, process=1, budget=3600, pause=1.0)

    assert [caller.is_done for caller in life.record.callers] == [True, True]
    assert len(life.airflow.runs) == 2
    life.teardown()


@pytest.mark.untraced
def test_every_call_gets_one_run_and_its_answer(capfd: pytest.CaptureFixture[str]) -> None:
    def tell(*_: object) -> None:
        with capfd.disabled():
            print(f"DAGCALL_SEED={SEED} takes longer than {LONG_SECONDS} s", file=sys.stderr)  # noqa: T201

    print(f"DAGCALL_SEED={SEED} repeats these examples")  # noqa: T201 - shown if the test fails
    signal.signal(signal.SIGALRM, tell)
    signal.alarm(LONG_SECONDS)
    run_state_machine_as_test(
        seed(SEED)(LifeOfCalls),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            deadline=None,
            database=None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    signal.alarm(0)
