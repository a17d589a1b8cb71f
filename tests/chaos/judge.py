"""Finds what is lost, doubled, wrong or unexplained in a history, each with its story.

Pure. The rules are those of `tests/server/life/record.py`, which checks them in virtual time. Five cases are excused by
design (`docs/design.md`):

* a call repeated after its run has ended and its outcome was delivered to a caller that had given up without cancelling
* a call repeated within a second while its caller's connection seems to wait: these are two calls
* a call repeated ten minutes after its run has ended, if no identical call came in between
* additional runs after a user has deleted one
* identical calls without keys that share a run, as long as it is a correct one
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from dagcall.runs.delivery_marks import CANCELLED, MARK
from dagcall.runs.ledger import REPLAY_SECONDS, SHARE_AFTER_SECONDS
from dagcall.runs.run_ids import split_run_id
from tests.chaos.history import AirflowRun, Attempt, Call, History, Told

SLACK_SECONDS = 1.0
"""The tolerance between times recorded by different processes."""
EDGE_SECONDS = 15.0
"""A time limit is not checked this close to its end."""
FINAL_STATES = {"success", "failed"}
UNFINISHED_STATES = {"running", "queued", "awaiting_input"}

Meaning = Literal["outcome", "deleted", "unfinished", "nothing started", "unsure", "unknown run", "strange"]
_NOTHING_STARTED = re.compile(r"^Nothing was started: ")
_UNSURE = re.compile(
    r"^(It is not known whether (run|the answer for run) |This call belongs to run |The state of run "
    r"|Run \S+ of dag \S+ was started and )"
)
_DELETED = re.compile(r"was deleted in Airflow (while dagcall waited for it|before dagcall had read)")
_UNKNOWN_RUN = re.compile(r"^([Tt]here is no (run|task) )")
_OUTCOME = re.compile(r"^The run \S+ of dag ")
BROKEN = re.compile(
    r"Connect|Connection|ReadError|WriteError|RemoteProtocol|Timeout|timed out|Closed|BrokenResource|EndOfStream"
    r"|stream ended"
)
"""How a connection may break while servers are killed."""
UNREAD = re.compile(r"^MCPError: The state of run \S+ of dag \S+ cannot be read now: ")
"""The answer to a request about a task while Airflow does not answer."""
NOT_YET = re.compile(r"^(MCPError: )?(Unknown tool|there is no tool)", re.IGNORECASE)
"""The answer of a server that has just started and has not read Airflow's dags yet."""


def meaning_of(told: Told) -> Meaning:
    """Return what an answer means to its caller."""
    if not told.is_error:
        if told.state in FINAL_STATES:
            return "outcome"
        return "unfinished" if told.state in UNFINISHED_STATES else "strange"
    for pattern, meaning in _MEANINGS:
        if pattern.search(told.text):
            return meaning
    return "strange"


_MEANINGS: tuple[tuple[re.Pattern[str], Meaning], ...] = (
    (_NOTHING_STARTED, "nothing started"),
    (_DELETED, "deleted"),
    (_UNSURE, "unsure"),
    (_UNKNOWN_RUN, "unknown run"),
    (_OUTCOME, "outcome"),
)


def is_over(call: Call) -> bool:
    """Return whether a call's caller knows its outcome."""
    return any(attempt.told and meaning_of(attempt.told) in {"outcome", "deleted"} for attempt in call.attempts)


@dataclass
class Findings:
    """Stories by kind; all empty if nothing is wrong."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    excused: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Excuse -> how often it applied."""

    @property
    def stories(self) -> list[str]:
        kinds = {"LOST": self.lost, "DOUBLED": self.doubled, "WRONG": self.wrong, "UNEXPLAINED": self.unexplained}
        return [f"{kind}: {story}" for kind, stories in kinds.items() for story in stories]


def judge(history: History) -> Findings:
    """Compare every call with every run."""
    return _Judge(history).findings


def stories(history: History) -> str:
    """Return the story of every call."""
    judging = _Judge(history)
    return "\n".join(judging.story(call) for call in history.calls)


class _Judge:
    def __init__(self, history: History) -> None:
        self._history = history
        self._runs = {run.run_id: run for run in history.runs}
        self._deeds = defaultdict(list)
        for deed in history.deeds:
            self._deeds[deed.run_id].append(deed)
        self._attempts = {attempt.number: (call, attempt) for call in history.calls for attempt in call.attempts}
        self._cancelled = {
            attempt.told.run_id
            for call, attempt in self._attempts.values()
            if call.is_cancelled and attempt.told and attempt.told.run_id
        }
        self.findings = Findings()
        for incident in history.incidents:
            self.findings.unexplained.append(incident)
        for call in history.calls:
            self._judge_call(call)
        self._judge_runs()
        self._judge_numbers()

    # Answers

    def _judge_call(self, call: Call) -> None:
        for attempt in call.attempts:
            if attempt.left_at is None:
                self._tell("unexplained", call, f"attempt {attempt.number} never ended")
            if attempt.broken and not any(known.search(attempt.broken) for known in (BROKEN, UNREAD, NOT_YET)):
                self._tell("unexplained", call, f"attempt {attempt.number} broke in a strange way")
            if attempt.told:
                self._judge_told(call, attempt, attempt.told)
        if not is_over(call) and call.attempts:
            self._tell("lost", call, "its caller came back after the faults, but did not get its outcome")

    def _judge_told(self, call: Call, attempt: Attempt, told: Told) -> None:
        meaning = meaning_of(told)
        if meaning == "strange":
            self._tell("unexplained", call, f"attempt {attempt.number} got a strange answer")
        if meaning == "nothing started":
            if started := [run for run in self._history.runs if run.attempt == attempt.number]:
                self._tell("wrong", call, f"attempt {attempt.number} had started {_names(started)}")
            return
        if told.run_id:
            self._judge_run_told(call, attempt, told, meaning)

    def _judge_run_told(self, call: Call, attempt: Attempt, told: Told, meaning: Meaning) -> None:
        deeds = self._deeds[told.run_id]
        run = self._runs.get(told.run_id)
        if run is None:
            if not any(deed.deed == "delete" for deed in deeds) and meaning not in {"unsure", "unknown run"}:
                self._tell("wrong", call, f"attempt {attempt.number} got a run that Airflow does not have")
            return
        if (run.dag_id, run.x) != (call.tool, call.x):
            self._tell("wrong", call, f"attempt {attempt.number} got another call's run, {_name(run)}")
        is_gone = meaning == "deleted" or (meaning == "unknown run" and run.created_at < attempt.asked_at)
        if is_gone and not any(deed.deed == "delete" for deed in deeds):
            self._tell("wrong", call, f"no user has deleted the run of attempt {attempt.number}")
        if meaning != "outcome":
            return
        results = [{"total": call.x + 1}, *([{"total": None}] if deeds else [])]
        if told.results is not None and told.results not in results:
            self._tell("wrong", call, f"attempt {attempt.number} got wrong results")
        state = "failed" if told.is_error else told.state
        if state != run.state and not deeds and told.run_id not in self._cancelled:
            self._tell("wrong", call, f"attempt {attempt.number} got state {state}, but Airflow says {run.state}")
        if told.results is not None and run.result != call.x + 1 and not deeds:
            self._tell("wrong", call, f"attempt {attempt.number} got results that Airflow does not have")

    # Airflow's data

    def _judge_runs(self) -> None:
        for run in self._history.runs:
            if run.attempt is None or run.attempt not in self._attempts:
                self.findings.unexplained.append(f"no call asked for run {_name(run)}")
                continue
            call, _ = self._attempts[run.attempt]
            if (run.dag_id, run.x) != (call.tool, call.x):
                self._tell("unexplained", call, f"attempt {run.attempt} has started {_name(run)}")
            if run.state not in FINAL_STATES:
                self._tell("unexplained", call, f"Airflow has not ended run {_name(run)}")

    def _judge_numbers(self) -> None:
        """Compare the number of runs with the number of calls."""
        calls: dict[tuple[str, int], list[Call]] = defaultdict(list)
        for call in self._history.calls:
            calls[call.tool, call.x].append(call)
        runs: dict[tuple[str, int | None], list[AirflowRun]] = defaultdict(list)
        for run in self._history.runs:
            runs[run.dag_id, run.x].append(run)
        for same, group in calls.items():
            unkeyed = [call for call in group if call.key is None]
            allowed = len(unkeyed) + len({call.key for call in group if call.key is not None})
            found = runs[same]
            surplus = len(found) - allowed
            if surplus <= 0:
                continue
            excuses = list(self._excuses(group, found)) if unkeyed else []
            for excuse in excuses[:surplus]:
                self.findings.excused[excuse] += 1
            if surplus > len(excuses):
                told = "\n".join(self.story(call) for call in group)
                calls_ = "1 call" if len(group) == 1 else f"{len(group)} calls"
                self.findings.doubled.append(f"{calls_}, {len(found)} runs: {_names(found)}\n{told}")

    def _excuses(self, group: list[Call], runs: list[AirflowRun]) -> Iterator[str]:
        attempts = [attempt for call in group for attempt in call.attempts]
        deleted = [
            deed
            for deeds in self._deeds.values()
            for deed in deeds
            if deed.deed == "delete" and _family(deed.run_id) in {_family(run.run_id) for run in runs}
        ]
        for _ in deleted:
            yield "a user had deleted a run with this run id prefix"
        started_by = {run.attempt for run in runs}
        for call in group:
            for number, repeat in enumerate(call.attempts):
                is_together = any(self._came_together(earlier, repeat) for earlier in call.attempts[:number])
                if is_together and repeat.number in started_by:
                    yield "a caller that had given up without cancelling repeated its call within a second"
        for run in runs:
            ended_at = self._first_end_of(run)
            if ended_at is None:
                continue
            if any(other.created_at - ended_at >= REPLAY_SECONDS - EDGE_SECONDS for other in runs):
                yield "the call was repeated ten minutes after its outcome was known"
                continue
            if not (MARK in run.note or CANCELLED in run.note):
                continue
            in_vain = [
                attempt
                for attempt in attempts
                if attempt.told is None
                and not attempt.broken
                and (attempt.closed_at or ended_at) >= ended_at - SLACK_SECONDS
            ]
            later = [other for other in runs if other.created_at >= ended_at - SLACK_SECONDS]
            if any(attempt.asked_at <= other.created_at + SLACK_SECONDS for attempt in in_vain for other in later):
                yield "its outcome had been delivered to a caller that had given up without cancelling"

    def _came_together(self, attempt: Attempt, later: Attempt) -> bool:
        """Return whether two attempts reached the same server within a second, or while it was stopped."""
        if attempt.told or attempt.broken or attempt.where != later.where:
            return False
        stalls = sum(
            max(0.0, min(until, later.asked_at) - max(since, attempt.asked_at))
            for where, since, until in self._history.stalls
            if where == attempt.where
        )
        gap = later.asked_at - attempt.asked_at - stalls
        return later.asked_at < (attempt.closed_at or 0.0) and gap < SHARE_AFTER_SECONDS + SLACK_SECONDS

    def _first_end_of(self, run: AirflowRun) -> float | None:
        ends = [deed.ended_at for deed in self._deeds[run.run_id] if deed.deed == "clear"] + [run.ended_at]
        return min((end for end in ends if end is not None), default=None)

    # Stories

    def _tell(self, kind: str, call: Call, what: str) -> None:
        getattr(self.findings, kind).append(f"{what}\n{self.story(call)}")

    def story(self, call: Call) -> str:
        key = f" with key {call.key}" if call.key else ""
        lines = [f"  caller {call.caller}: {call.tool}(x={call.x}){key}"]
        begin = call.attempts[0].asked_at if call.attempts else 0.0
        events: list[tuple[float, str]] = []
        for attempt in call.attempts:
            how = f"attempt {attempt.number} ({attempt.kind}, {attempt.where}, {attempt.way})"
            events.append((attempt.asked_at, f"{how} begins"))
            if attempt.left_at is not None:
                events.append((attempt.left_at, f"attempt {attempt.number}: {_end_of(attempt)}"))
            if attempt.closed_at is not None and attempt.closed_at != attempt.left_at:
                events.append((attempt.closed_at, f"attempt {attempt.number}: its connection is closed"))
        for run in self._history.runs:
            if (run.dag_id, run.x) == (call.tool, call.x):
                events.append((run.created_at, f"run {_name(run)} is made, by attempt {run.attempt}"))
                if run.ended_at is not None:
                    events.append((run.ended_at, f"run {_name(run)} has ended: {run.state}; note: {run.note}"))
        families = {_family(run.run_id) for run in self._history.runs if (run.dag_id, run.x) == (call.tool, call.x)}
        events += [
            (deed.at, f"a person: {deed.deed} {deed.run_id}")
            for deed in self._history.deeds
            if _family(deed.run_id) in families
        ]
        return "\n".join([*lines, *(f"    {at - begin:7.2f} s  {what}" for at, what in sorted(events))])


def _end_of(attempt: Attempt) -> str:
    if attempt.broken:
        return f"broken: {attempt.broken}"
    if attempt.told is None:
        return "goes away"
    told = attempt.told
    return f"told: {told.state} {told.run_id} {told.results or ''} {told.text}".strip()


def _family(run_id: str) -> str:
    return split_run_id(run_id)[0]


def _name(run: AirflowRun) -> str:
    return f"{run.run_id} of {run.dag_id}"


def _names(runs: Iterable[AirflowRun]) -> str:
    return ", ".join(run.run_id for run in runs)
