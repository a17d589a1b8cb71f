"""Records all calls of an example and checks the invariants.

The record sees only what is visible from outside: requests, answers, and Airflow's data. Each request carries a trace
id, which dagcall writes into the note of the run it starts. This tells the record which request started which run.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from dagcall.runs.delivery_marks import CANCELLED, MARK, MAX_NOTE
from dagcall.runs.ledger import REPLAY_SECONDS, SHARE_AFTER_SECONDS
from dagcall.runs.run_ids import number_in
from dagcall.runs.starting import SHORTEST_START_SECONDS
from tests.fake_airflow import FakeRun
from tests.fake_airflow.wire import Route
from tests.server.life.callers import Attempt, Caller, Kind
from tests.server.life.world import POLICIES, REUSE_SECONDS, Process, WatchedAirflow, Wire
from tests.support.virtual_time import VirtualTimeLoop

MARGIN_SECONDS = 1.5
"""How soon after a delivery the delivery mark must be in the note."""
AFTER_TROUBLE_SECONDS = 20.0
"""The same, after a fault in Airflow."""
SLACK_SECONDS = 0.5
READING_SECONDS = 6.0
"""How long dagcall may keep reading an outcome after the call timed out, during a fault in Airflow."""
EDGE_SECONDS = 15.0
"""A time limit is not checked this close to its end."""
FAMILY_IS_OPEN_SECONDS = REPLAY_SECONDS - EDGE_SECONDS

RECEIPT_ROUTES = frozenset[Route]({"patch_runs", "patch_run", "list_runs", "run", "version", "log_in"})
START_ROUTES = frozenset[Route]({"list_runs", "trigger", "runs", "run", "dag", "log_in", "version"})

_TRACE = re.compile(r"trace ([0-9a-f]{32})")
_RUN_ID = re.compile(r"mcp__[a-z2-7]{10}_[a-z2-7]{26}(?:_\d+)?")


@dataclass(frozen=True)
class Receipt:
    """A delivery mark that dagcall has to write: the outcome of a run has reached a caller."""

    run: FakeRun
    process: Process
    delivered_at: float


class Record:
    """All calls of one example."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self.airflow = WatchedAirflow(loop, self.run_was_created)
        self.processes: list[Process] = []
        self.callers: list[Caller] = []
        self.attempts: list[Attempt] = []
        self.edits: list[tuple[FakeRun, str]] = []
        """The texts that people added to notes."""
        self.disturbed = set[FakeRun]()
        """Runs that people cleared, set to a state, or deleted."""
        self._late = set[FakeRun]()
        """Runs created long after one with a higher number. A process that has already read the runs with this prefix
        does not look for them."""
        self.cancelled = set[FakeRun]()
        self.first_end_of: dict[FakeRun, datetime | None] = {}
        """For runs that people cleared: when they first ended."""
        self.held_posts_until = float("-inf")
        self._delivered = set[FakeRun]()
        self._receipts: list[Receipt] = []
        self._violations: list[str] = []

    # What happens

    def ask(
        self,
        caller: Caller,
        process: Process,
        *,
        kind: Kind | None = None,
        budget: float = 3600.0,
        others: tuple[int, ...] = (),
    ) -> Attempt:
        """Let a caller make a request; a task also polls `others` in turn."""
        attempt = Attempt(
            number=len(self.attempts) + 1,
            caller=caller,
            process=process,
            kind=kind or caller.kind,
            budget=budget,
            asked_at=self._loop.time(),
            is_process_away=process.is_away or any(self.processes[other].is_away for other in others),
            known_run_id=caller.run_id if kind == "wait" else None,
            unheard=frozenset(run for run in self._family(caller) if self._is_unheard(run)),
            is_moving=(kind or caller.kind) == "task" and bool(others),
            noted=frozenset(run for run in self.airflow.runs if _is_noted(run)),
        )
        self.attempts.append(attempt)
        caller.attempts.append(attempt)
        attempt.asking = process.begin(attempt.ask(lambda: [process, *(self.processes[other] for other in others)]))
        attempt.asking.add_done_callback(lambda _: setattr(attempt, "ended_at", self._loop.time()))
        return attempt

    def run_was_created(self, run: FakeRun) -> None:
        """Record a new run in Airflow and check that it was needed."""
        found = _TRACE.search(run.note or "")
        assert found, f"a run that no call asked for: {run.note}"
        attempt = self.attempts[int(found[1], 16) - 1]
        if any(not earlier.is_deleted for earlier in attempt.created):
            self._violations.append(f"one request started {[r.run_id for r in attempt.created]} and {run.run_id}")
        attempt.created.append(run)
        if attempt.nothing_started:
            self._violations.append(f"run {run.run_id} was created after this answer: {attempt.nothing_started}")
        if attempt.caller.is_of_family:
            is_late = any(
                _number(other) > _number(run) and self._age(other) > 1 for other in self._family(attempt.caller)
            )
            if is_late:
                self._late.add(run)
            if not self._has_gaps(attempt.caller, before=run):
                self._look_for_a_run_to_adopt(attempt, run)
                if not is_late:  # a late run belongs to a caller who disconnected before it started
                    self._look_for_a_run_to_share(attempt, run)

    def _look_for_a_run_to_adopt(self, attempt: Attempt, run: FakeRun) -> None:
        """Check that no earlier run was free for adoption; each concurrent caller may hold one of them."""
        left = [earlier for earlier in attempt.unheard if self._is_unheard(earlier)]
        rivals = [
            other
            for other in self.attempts
            if other is not attempt
            and other.caller.family == attempt.caller.family
            and other.may_hold_a_run_at(attempt.asked_at)
        ]
        if len(left) > len(rivals):
            self._violations.append(
                f"attempt {attempt.number} started run {run.run_id} instead of adopting one of "
                f"{[r.run_id for r in left]}, with {len(rivals)} concurrent callers"
            )

    def _look_for_a_run_to_share(self, attempt: Attempt, run: FakeRun) -> None:
        if _is_read_only(attempt.caller.tool):
            return
        for other in self.attempts:
            if (
                other.kind == "call"
                and other.process is attempt.process
                and other.caller.is_of_family
                and other.caller.family == attempt.caller.family
                and not other.asking.done()
                and attempt.asked_at - other.asked_at >= SHARE_AFTER_SECONDS
                and any(not created.is_deleted for created in other.created)
            ):
                self._violations.append(
                    f"attempt {attempt.number} started run {run.run_id} instead of sharing {other.created[0].run_id}, "
                    f"which the earlier, identical attempt {other.number} still waits for"
                )

    # Answers

    def judge_all(self) -> None:
        """Check the attempts that have ended, and that none is overdue."""
        for attempt in self.attempts:
            if not attempt.is_judged:
                self._judge_time(attempt)
                if attempt.asking.done():
                    attempt.is_judged = True
                    self._judge(attempt)

    def _judge_time(self, attempt: Attempt) -> None:
        if attempt.kind == "task":
            return
        limit = max(attempt.budget, SHORTEST_START_SECONDS) + SLACK_SECONDS
        if any(self._hits(attempt)) or attempt.process.is_stopping:
            limit += READING_SECONDS
        took = (self._loop.time() if attempt.ended_at is None else attempt.ended_at) - attempt.asked_at
        assert took <= limit, f"attempt {attempt.number} took {took} s, its budget was {attempt.budget} s"

    def _judge(self, attempt: Attempt) -> None:
        if attempt.asking.cancelled():
            return  # the caller disconnected, or the process ended
        wire = attempt.asking.result()
        if wire.get("isError"):
            self._judge_error(attempt, wire["content"][0]["text"])
            return
        content = wire["structuredContent"]
        run = self._run(content["dag_run_id"])
        caller = attempt.caller
        caller.run_id = run.run_id
        is_anew = any(earlier.is_deleted for earlier in self._runs(run.run_id))
        may_be_anothers = caller.key is not None and (attempt.kind == "wait" or is_anew)
        is_fitting = run.conf == {"x": caller.x} or may_be_anothers
        assert is_fitting, f"attempt {attempt.number} with x={caller.x} got run {run.run_id} with {run.conf}"
        self._judge_whose(attempt, run, content)
        if content["state"] == "running":
            took = (attempt.ended_at or 0) - attempt.asked_at
            is_due = took >= attempt.budget - SLACK_SECONDS or attempt.process.is_stopping
            assert is_due, f"attempt {attempt.number} got a running run after {took} s of {attempt.budget}"
            return
        if run not in self.disturbed:
            assert run.state == content["state"] == "success", f"{content['state']}, and the run {run.state}"
            assert content["results"] == {"total": run.conf["x"] + 1}, f"wrong results: {content}"
        self._judge_age(attempt, run)
        self._delivered_to(attempt, run)

    def _judge_whose(self, attempt: Attempt, run: FakeRun, content: Wire) -> None:
        """Two callers of one process get the same run only if it is marked as shared, or if one had abandoned it."""
        if attempt.kind == "wait":
            assert run.run_id == attempt.known_run_id
            return
        is_own = run in attempt.created
        is_shared = content.get("shared", False)
        assert not (is_own and is_shared), f"attempt {attempt.number} started run {run.run_id}, but got it as shared"
        if not attempt.caller.is_of_family:
            assert not is_shared, f"attempt {attempt.number} must not share run {run.run_id}"
            assert is_own or attempt.caller.key is not None, (
                f"attempt {attempt.number} got run {run.run_id} of another caller"
            )
            return
        waiting = [
            other
            for other in self.attempts
            if other is not attempt
            and (other.process is attempt.process or other.is_moving)
            and other.asked_at <= attempt.asked_at
            and other.may_hold_a_run_at(attempt.asked_at)
        ]
        if is_shared:
            assert not _is_read_only(attempt.caller.tool), f"attempt {attempt.number} shares a run of a read-only tool"
            is_later = any(attempt.asked_at - other.asked_at >= SHARE_AFTER_SECONDS for other in waiting)
            assert is_later, f"attempt {attempt.number} shares run {run.run_id} with a simultaneous call"
        elif attempt.caller.tool != "reuse" and not self._has_gaps(attempt.caller):
            owners = [
                o.number
                for o in waiting
                if run in o.created and o.kind == "call" and o.may_hold_a_run_at(attempt.ended_at or 0)
            ]
            assert not owners, f"attempt {attempt.number} got run {run.run_id} of {owners}, not marked as shared"

    def _judge_age(self, attempt: Attempt, run: FakeRun) -> None:
        """Check that a new call does not get an outcome that has a delivery mark."""
        if attempt.kind == "wait" or not attempt.caller.is_of_family:
            return
        if attempt.caller.tool == "reuse" and run.end_date is not None:
            age = attempt.asked_at - self._loop.time() + (self.airflow.clock.now() - run.end_date).total_seconds()
            if age <= REUSE_SECONDS + SLACK_SECONDS:
                return
        assert run not in attempt.noted, f"attempt {attempt.number} got the old outcome of run {run.run_id}"

    def _delivered_to(self, attempt: Attempt, run: FakeRun) -> None:
        attempt.caller.is_done = True
        if run in self._delivered:
            return
        self._delivered.add(run)
        if number_in(run.run_id) is not None:
            self._receipts.append(Receipt(run, attempt.process, attempt.ended_at or 0))

    def is_being_cancelled(self, caller: Caller) -> None:
        """Record that a caller is cancelling its run."""
        self.cancelled.update(self._runs(caller.run_id or ""))

    def was_cancelled(self, caller: Caller, answer: Wire) -> None:
        """Record that a caller has cancelled its run and knows the outcome."""
        caller.is_done = True
        content = answer["structuredContent"]
        if content["state"] == "failed":
            self._delivered.add(self._run(content["dag_run_id"]))

    # Errors

    def _judge_error(self, attempt: Attempt, text: str) -> None:
        caller = attempt.caller
        if text.startswith("Nothing was started: this idempotency key belongs to run "):
            assert any(run.conf != {"x": caller.x} for run in self._runs(_run_id_in(text))), text
            caller.is_done = True
        elif "this tool needs an idempotency key" in text:
            assert (caller.tool, caller.key) == ("key_only", None), text
            caller.is_done = True
        elif text.startswith("Nothing was started: "):
            self._judge_nothing_started(attempt, text)
        elif text.startswith(("It is not known whether run ", "This call belongs to run ")):
            caller.run_id = _run_id_in(text)
            assert self._is_excused(attempt, START_ROUTES), f"attempt {attempt.number}: {text}"
        elif " was started and " in text:
            caller.run_id = _run_id_in(text)
            assert self._is_excused(attempt), f"attempt {attempt.number}: {text}"
        elif "there is no run " in text:
            assert attempt.kind == "wait", text
            assert attempt.known_run_id is not None
            there = (run for run in self._runs(attempt.known_run_id) if not run.is_deleted)
            is_there = any(self._age(run) > self._loop.time() - attempt.asked_at for run in there)
            assert not is_there, f"attempt {attempt.number}: {text}"
            caller.run_id = None
        elif text.startswith("There is no task "):
            assert attempt.kind == "task", text
            assert all(run.is_deleted for run in self._runs(_run_id_in(text))), f"attempt {attempt.number}: {text}"
            caller.run_id = None
        elif " was deleted in Airflow while dagcall waited for it" in text or " was deleted in Airflow before " in text:
            assert any(run.is_deleted for run in self._runs(_run_id_in(text))), text
            caller.run_id = None
        elif not (named := _RUN_ID.search(text)) or not re.search(r"failed|cancelled", text.splitlines()[0]):
            assert self._is_excused(attempt), f"attempt {attempt.number}: {text}"
        else:
            run = self._run(named[0])
            is_odd = any(one in self.disturbed for one in self._runs(run.run_id))
            assert run.state == "failed" or is_odd, f"attempt {attempt.number}: {text}"
            self._judge_kill(attempt, run)
            self._judge_age(attempt, run)
            self._delivered_to(attempt, run)

    def _judge_nothing_started(self, attempt: Attempt, text: str) -> None:
        attempt.nothing_started = text
        is_away = "Airflow has not answered for " in text  # any route may have failed
        is_expected = attempt.process.is_stopping or self._is_excused(attempt, None if is_away else START_ROUTES)
        assert is_expected, f"attempt {attempt.number}: {text}"
        own = [run for run in attempt.created if not run.is_deleted]
        assert not own, f"attempt {attempt.number} had started run {own[0].run_id}: {text}"

    def _judge_kill(self, attempt: Attempt, run: FakeRun) -> None:
        """Check that a process did not set a run to failed while a call waited for it, unless a caller cancelled it."""
        if run in self.cancelled:
            return
        for at, run_id in attempt.process.line.kills:
            if run_id == run.run_id and attempt.asked_at + 1.0 <= at <= (attempt.ended_at or 0):
                is_excused = any(attempt.asked_at <= hit.at <= at for hit in attempt.process.line.hits)
                assert is_excused, f"run {run_id} was set to failed while attempt {attempt.number} waited for it"

    def _hits(self, attempt: Attempt, routes: frozenset[Route] | None = None) -> Iterator[object]:
        """Return the faults on the process's connection while a caller waited for its answer."""
        until = self._loop.time() if attempt.ended_at is None else attempt.ended_at
        processes = {attempt.process, *self.processes} if attempt.is_moving else {attempt.process}
        for hit in (hit for process in processes for hit in process.line.all_hits()):
            is_meanwhile = hit.since <= until and attempt.asked_at <= hit.at
            if is_meanwhile and (routes is None or hit.route in routes):
                yield hit

    def _is_excused(self, attempt: Attempt, routes: frozenset[Route] | None = None) -> bool:
        if attempt.is_moving and any(process.is_away for process in self.processes):
            return True
        is_cut_short = attempt.process.is_stopping
        return attempt.is_process_away or is_cut_short or any(self._hits(attempt, routes))

    # Airflow's data

    def look(self) -> None:
        """Check the runs and notes in Airflow."""
        assert not self._violations, "\n".join(self._violations)
        for run, text in self.edits:
            assert text in (run.note or ""), f"{text!r} is no longer in the note of run {run.run_id}: {run.note!r}"
        self._receipts = [receipt for receipt in self._receipts if self._is_due(receipt)]

    def _is_due(self, receipt: Receipt) -> bool:
        """Return whether a delivery mark is still missing, and check that it is not late."""
        run, process, now = receipt.run, receipt.process, self._loop.time()
        note = run.note or ""
        has_room = len(f"{note} {MARK}") <= MAX_NOTE
        if _is_noted(run) or run.is_deleted or process.has_crashed or not has_room:
            return False
        if now - receipt.delivered_at > FAMILY_IS_OPEN_SECONDS:
            return False
        hits = [h.at for h in process.line.hits if h.at >= receipt.delivered_at - 1 and h.route in RECEIPT_ROUTES]
        due = max(hits) + AFTER_TROUBLE_SECONDS if hits else receipt.delivered_at + MARGIN_SECONDS
        if process.is_away:
            return True
        assert now <= due, f"run {run.run_id} has no delivery mark: {note!r}"
        return True

    # Runs

    def _run(self, run_id: str) -> FakeRun:
        """Return a run, even if it has been deleted."""
        runs = self._runs(run_id)
        assert runs, f"there never was a run {run_id}"
        return next((run for run in runs if not run.is_deleted), runs[-1])

    def _runs(self, run_id: str) -> list[FakeRun]:
        return [run for attempt in self.attempts for run in attempt.created if run.run_id == run_id]

    def unfinished(self) -> list[FakeRun]:
        return [run for run in self.airflow.runs if not run.is_final]

    def _family(self, caller: Caller) -> Iterator[FakeRun]:
        """Return the runs that a caller's identical calls have started, including deleted ones."""
        for attempt in self.attempts:
            if attempt.caller.is_of_family and attempt.caller.family == caller.family:
                yield from attempt.created

    def _has_gaps(self, caller: Caller, *, before: FakeRun | None = None) -> bool:
        """Return whether a number below a used one is free, because a run was deleted or refused.

        With `before`, ignore that run, which may have filled the last gap.

        A process that read the runs earlier uses the free number and does not see the others. Number 0 is exempt,
        because a process without any knowledge starts there.
        """
        runs = [run for run in self._family(caller) if run is not before]
        numbers = {_number(run) for run in runs}
        return any(run.is_deleted for run in runs) or len(numbers - {0}) < max(numbers, default=0)

    def _age(self, run: FakeRun) -> float:
        return (self.airflow.clock.now() - run.run_after).total_seconds()

    def _is_unheard(self, run: FakeRun) -> bool:
        """Return whether a repeated call may still get the outcome of a run."""
        if run.is_deleted or run in self._delivered or run in self._late or _is_noted(run):
            return False
        end = self.first_end_of.get(run, run.end_date)
        return end is None or (self.airflow.clock.now() - end).total_seconds() <= FAMILY_IS_OPEN_SECONDS


def _is_read_only(tool: str) -> bool:
    return "annotations" in POLICIES[tool]


def _number(run: FakeRun) -> int:
    return number_in(run.run_id) or 0


def _is_noted(run: FakeRun) -> bool:
    return MARK in (run.note or "") or CANCELLED in (run.note or "")


def _run_id_in(text: str) -> str:
    found = _RUN_ID.search(text)
    assert found, f"no run id in: {text}"
    return found[0]
