"""The judge of the chaos tests finds the errors in invented histories, and none in correct ones."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from dagcall.runs.delivery_marks import MARK
from tests.chaos.history import AirflowRun, Attempt, Call, DeedDone, History, Told
from tests.chaos.judge import judge, meaning_of

FAMILY = f"mcp__{'a' * 10}_{'b' * 26}_"
FIRST, SECOND = f"{FAMILY}0", f"{FAMILY}1"
X = 4


def attempt(number: int, told: Told | None = None, *, at: float = 0.0, until: float = 5.0, **more: Any) -> Attempt:
    made = Attempt(number, "call", "replica 0.1", "stays", at, until, until, told)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def call(*attempts: Attempt, caller: int = 0, key: str | None = None) -> Call:
    return Call(caller, "quick", X, key, list(attempts))


def run(
    run_id: str = FIRST, *, by: int | None = 1, at: float = 0.5, until: float | None = 4.0, **more: Any
) -> AirflowRun:
    note = f"Called through MCP (dagcall) as tool quick (trace {by:032x}) by x [1]" if by else ""
    found = AirflowRun(run_id, "quick", X, "success" if until else "running", at, until, note, X + 1)
    return replace(found, **more)


def success(run_id: str = FIRST, results: Mapping[str, Any] | None = None) -> Told:
    return Told("", state="success", run_id=run_id, results=results or {"total": X + 1})


def error(text: str, run_id: str = "") -> Told:
    return Told(text, is_error=True, run_id=run_id)


def found(
    calls: list[Call],
    runs: list[AirflowRun],
    *deeds: DeedDone,
    stalls: tuple[tuple[str, float, float], ...] = (),
    incidents: tuple[str, ...] = (),
) -> list[str]:
    """Return the kinds of the findings, in order."""
    stories = judge(History(calls, runs, list(deeds), list(stalls), list(incidents))).stories
    return [story.partition(":")[0] for story in stories]


def replace_closed(made: Attempt, closed_at: float) -> Attempt:
    """Return an attempt whose connection was closed at another time."""
    return attempt(made.number, made.told, at=made.asked_at, until=made.left_at or 0.0, closed_at=closed_at)


def answered(the_run: AirflowRun) -> AirflowRun:
    return replace(the_run, note=f"{the_run.note} {MARK}")


FAILED = error(f"The run {FIRST} of dag quick failed.", FIRST)
DELETED = error(f"The run {FIRST} of dag quick was deleted in Airflow while dagcall waited for it.", FIRST)
NOTHING = error("Nothing was started: Airflow does not answer.")
GONE = attempt(1, until=1.0)


def test_correct_history_has_no_findings() -> None:
    assert found([call(attempt(1, success()))], [run()]) == []
    assert found([call(attempt(1, NOTHING), attempt(2, success()))], [run(by=2)]) == []
    assert found([call(attempt(1, FAILED))], [run(state="failed")]) == []
    assert found([call(GONE, attempt(2, success(), at=2.0))], [run()]) == []


# Lost


def test_call_without_an_outcome_is_lost() -> None:
    assert found([call(GONE)], [run()]) == ["LOST"]


def test_unanswered_call_is_lost_and_its_attempt_unexplained() -> None:
    assert found([call(attempt(1, left_at=None))], [run()]) == ["LOST", "UNEXPLAINED"]


def test_running_run_does_not_count_as_an_outcome() -> None:
    handle = Told("", state="running", run_id=FIRST)

    assert found([call(attempt(1, handle))], [run()]) == ["LOST"]


# Doubled


def test_second_run_of_one_call_is_doubled() -> None:
    runs = [run(), run(SECOND, by=2, at=2.0)]

    assert found([call(GONE, attempt(2, success(SECOND), at=2.0))], runs) == ["DOUBLED"]


def test_third_run_of_two_identical_calls_is_doubled() -> None:
    calls = [call(attempt(1, success())), call(GONE, attempt(2, success(SECOND), at=2.0), attempt(3, at=6.0), caller=1)]
    runs = [run(), run(SECOND, by=2), run(f"{FAMILY}2", by=3)]

    assert found(calls, runs[:2]) == []
    assert found(calls, runs) == ["DOUBLED"]


def test_second_run_of_one_key_is_doubled() -> None:
    calls = [call(attempt(1, success()), key="k"), call(attempt(2, success(SECOND)), caller=1, key="k")]

    assert found(calls, [run(), run(SECOND, by=2)]) == ["DOUBLED"]


def test_repeat_after_an_answer_to_an_abandoned_attempt_is_excused() -> None:
    silent = attempt(1, until=1.0, closed_at=6.0)
    calls = [call(silent, attempt(2, success(SECOND), at=7.0, until=9.0))]
    later = run(SECOND, by=2, at=7.0, until=9.0)

    assert found(calls, [answered(run()), later]) == []


def test_repeat_is_not_excused_without_an_answer_to_an_open_connection() -> None:
    silent = attempt(1, until=1.0, closed_at=6.0)
    again = attempt(2, success(SECOND), at=7.0, until=9.0)
    later = run(SECOND, by=2, at=7.0, until=9.0)

    assert found([call(silent, again)], [run(), later]) == ["DOUBLED"]
    assert found([call(silent, again)], [answered(run(until=8.5)), replace(later, created_at=2.0)]) == ["DOUBLED"]
    assert found([call(GONE, again)], [answered(run()), later]) == ["DOUBLED"]
    broken = attempt(1, until=1.0, closed_at=6.0, broken="ConnectError: refused")
    assert found([call(broken, again)], [answered(run()), later]) == ["DOUBLED"]


@pytest.mark.parametrize(
    ("later_by", "stalls", "kinds"),
    [
        (0.7, (), []),
        (3.0, (), ["DOUBLED"]),
        (3.0, (("replica 0.1", 0.5, 2.9),), []),
        (3.0, (("replica 1.1", 0.5, 2.9),), ["DOUBLED"]),
    ],
)
def test_repeat_within_a_second_of_an_apparently_waiting_call_is_excused(
    later_by: float, stalls: tuple[tuple[str, float, float], ...], kinds: list[str]
) -> None:
    silent = attempt(1, until=0.5, closed_at=3.5)
    again = attempt(2, success(SECOND), at=later_by, until=9.0)
    runs = [run(), run(SECOND, by=2, at=later_by, until=9.0)]

    assert found([call(silent, again)], runs, stalls=stalls) == kinds
    gone = replace_closed(silent, 0.5)
    assert found([call(gone, again)], runs, stalls=stalls) == ["DOUBLED"]


def test_repeat_within_a_second_is_excused_despite_attempts_in_between() -> None:
    silent = replace_closed(attempt(1, until=0.1), 6.0)
    dropped = attempt(2, at=0.2, until=0.3)
    repeat = attempt(3, success(SECOND), at=0.4)

    assert found([call(silent, dropped, repeat)], [run(at=0.6), run(SECOND, by=3, at=0.8)]) == []


def test_denied_existing_task_is_wrong() -> None:
    denied = error(f"There is no task 'quick.{FIRST}' that you have started.", FIRST)
    calls = [call(attempt(1, denied, at=1.0), attempt(2, success()))]

    assert found(calls, [run(by=1, at=0.5)]) == ["WRONG"]
    assert found(calls, [run(by=2, at=2.0)]) == []
    assert found(calls, [run(by=1, at=0.5)], DeedDone(0.8, "delete", FIRST, None)) == []


@pytest.mark.parametrize(("pause", "kinds"), [(300.0, ["DOUBLED"]), (600.0, [])])
def test_repeat_ten_minutes_after_the_outcome_is_excused(pause: float, kinds: list[str]) -> None:
    later = run(SECOND, by=2, at=4.0 + pause, until=9.0 + pause)
    again = attempt(2, success(SECOND), at=4.0 + pause, until=9.0 + pause)

    assert found([call(GONE, again)], [run(), later]) == kinds


def test_answer_to_an_abandoned_attempt_excuses_only_one_run() -> None:
    silent = attempt(1, until=1.0, closed_at=6.0)
    runs = [answered(run()), run(SECOND, by=2, at=7.0, until=9.0), run(f"{FAMILY}2", by=3, at=7.0, until=9.0)]

    assert found([call(silent, attempt(2, at=7.0), attempt(3, success(SECOND), at=7.0))], runs) == ["DOUBLED"]


def test_additional_run_after_a_user_deleted_one_is_excused() -> None:
    deed = DeedDone(1.0, "delete", f"{FAMILY}5", None)
    calls = [call(GONE, attempt(2, success(SECOND), at=2.0))]
    runs = [run(), run(SECOND, by=2, at=2.0)]

    assert found(calls, runs, deed) == []
    assert found(calls, runs, replace(deed, deed="clear")) == ["DOUBLED"]
    assert found(calls, runs, replace(deed, run_id=f"mcp__{'c' * 10}_{'b' * 26}_0")) == ["DOUBLED"]


# Wrong


def test_wrong_results_are_wrong() -> None:
    assert found([call(attempt(1, success(results={"total": 7})))], [run()]) == ["WRONG"]


def test_run_of_another_call_is_wrong() -> None:
    other = Call(1, "quick", X + 1, None, [attempt(2, success(SECOND, {"total": X + 2}))])
    runs = [run(), run(SECOND, by=2, x=X + 1, result=X + 2)]

    assert found([call(attempt(1, success())), other], runs) == []
    assert found([call(attempt(1, success(SECOND))), other], runs) == ["WRONG", "WRONG"]


@pytest.mark.parametrize(
    ("told", "the_run"),
    [(success(), run(state="failed")), (FAILED, run()), (success(), run(result=None)), (DELETED, run())],
)
def test_outcome_that_differs_from_airflow_is_wrong(told: Told, the_run: AirflowRun) -> None:
    assert found([call(attempt(1, told))], [the_run]) == ["WRONG"]


@pytest.mark.parametrize("told", [success(), FAILED, DELETED])
def test_outcome_of_a_missing_run_is_wrong_unless_it_was_deleted(told: Told) -> None:
    assert found([call(attempt(1, told))], []) == ["WRONG"]
    assert found([call(attempt(1, told))], [], DeedDone(1.0, "delete", FIRST, None)) == []


def test_later_change_by_a_user_excuses_an_earlier_outcome() -> None:
    deed = DeedDone(5.0, "failed", FIRST, None)

    assert found([call(attempt(1, success()))], [run(state="failed")], deed) == []


def test_false_nothing_was_started_is_wrong() -> None:
    calls = [call(attempt(1, NOTHING), attempt(2, success()))]

    assert found(calls, [run(by=1)]) == ["WRONG"]


# Unexplained


def test_run_without_a_call_is_unexplained() -> None:
    assert found([call(attempt(1, success()))], [run(), run(f"{SECOND}7", by=99, x=9)]) == ["UNEXPLAINED"]
    assert found([], [run(by=None)]) == ["UNEXPLAINED"]


def test_run_with_other_arguments_than_its_call_is_unexplained() -> None:
    assert found([call(attempt(1, FAILED))], [run(x=9, state="failed")]) == ["WRONG", "UNEXPLAINED"]


def test_strange_answer_is_unexplained() -> None:
    calls = [call(attempt(1, error("Internal error")), attempt(2, success()))]

    assert found(calls, [run()]) == ["UNEXPLAINED"]


def test_connection_with_an_unusual_error_is_unexplained() -> None:
    for broken, kinds in (("ConnectError: refused", []), ("KeyError: 'x'", ["UNEXPLAINED"])):
        assert found([call(attempt(1, broken=broken), attempt(2, success()))], [run()]) == kinds


def test_unfinished_run_and_server_incident_are_unexplained() -> None:
    assert found([call(attempt(1, FAILED))], [run(until=None)], incidents=("a traceback",)) == [
        "WRONG",
        "UNEXPLAINED",
        "UNEXPLAINED",
    ]


# Answers and stories


@pytest.mark.parametrize(
    ("told", "meaning"),
    [
        (success(), "outcome"),
        (FAILED, "outcome"),
        (DELETED, "deleted"),
        (Told("", state="awaiting_input", run_id=FIRST), "unfinished"),
        (Told("", state="odd", run_id=FIRST), "strange"),
        (NOTHING, "nothing started"),
        (error(f"It is not known whether run {FIRST} of dag quick was started: …", FIRST), "unsure"),
        (error(f"Run {FIRST} of dag quick was started and is running, but …", FIRST), "unsure"),
        (error(f"there is no run '{FIRST}' that you started with tool quick", FIRST), "unknown run"),
    ],
)
def test_every_answer_has_a_meaning(told: Told, meaning: str) -> None:
    assert meaning_of(told) == meaning


def test_story_lists_events_in_chronological_order() -> None:
    silent = attempt(1, until=1.0, closed_at=6.0)
    broken = attempt(2, at=7.0, until=8.0, broken="ConnectError: refused")
    last = attempt(3, success(SECOND), at=8.0, until=9.0)
    deed = DeedDone(3.0, "clear", FIRST, None)
    runs = [run(), run(SECOND, by=3, at=2.0)]

    (story,) = judge(History([call(silent, broken, last, key="k")], runs, [deed])).doubled

    lines = [line.split("  ")[-1] for line in story.splitlines() if " s  " in line]
    assert lines == [
        "attempt 1 (call, replica 0.1, stays) begins",
        f"run {FIRST} of quick is made, by attempt 1",
        "attempt 1: goes away",
        f"run {SECOND} of quick is made, by attempt 3",
        f"a person: clear {FIRST}",
        *(f"run {r.run_id} of quick has ended: success; note: {r.note}" for r in runs),
        "attempt 1: its connection is closed",
        "attempt 2 (call, replica 0.1, stays) begins",
        "attempt 2: broken: ConnectError: refused",
        "attempt 3 (call, replica 0.1, stays) begins",
        f"attempt 3: told: success {SECOND} {{'total': 5}}",
    ]
