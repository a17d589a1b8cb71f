"""Failure reports: from a run, its task instances and their logs to the complete text that a caller reads."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dagcall.airflow.model import Frame, LogEvent, LoggedException, Run, RunState, TaskInstance
from dagcall.airflow.task_dates import ExcludingDate
from dagcall.masking import Masker
from dagcall.mcp.failure_text import failure_text
from dagcall.results.failure_report import (
    MAX_LOGS,
    MAX_LOGS_OF_A_TASK,
    Logs,
    MissingLog,
    Omission,
    TaskLog,
    instances_to_read,
    report_of,
)
from dagcall.results.task_log import STOPPED_FROM_OUTSIDE

START = datetime(2030, 1, 1, tzinfo=UTC)
LINK = "For people: http://u"
FAILED = "The run r of dag d failed."
UNKNOWN = "Calling again starts a new run."
PASSING = "Calling again starts a new run and may help: this kind of failure is often temporary."
LASTING = "Calling again with the same arguments starts a new run, which will probably fail in the same way."
STOPPED = "It was probably stopped on purpose: find out why before calling again."


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def run(state: RunState = RunState.FAILED) -> Run:
    return Run("d", "r", state, {}, START, at(100) if state.is_final else None, "")


def instance(task_id: str, state: str = "failed", map_index: int = -1, **more: Any) -> TaskInstance:
    fields: dict[str, Any] = {"try_number": 1, "max_tries": 0, "end_date": at(1)} | more
    return TaskInstance(task_id, map_index, state, **fields)


def raised(*exceptions: tuple[str, str], frames: tuple[Frame, ...] = ()) -> TaskLog:
    chain = tuple(LoggedException(kind, message, frames) for kind, message in exceptions)
    return TaskLog((LogEvent("error", "Task failed with exception", "task", chain),))


def log(*events: LogEvent) -> TaskLog:
    return TaskLog(events)


def told(
    *instances: TaskInstance,
    logs: Logs | TaskLog | None = None,
    of: Run | None = None,
    log_lines: int = 15,
    is_over: bool = True,
    left_out: dict[str, Omission] | None = None,
) -> list[str]:
    """Return the text's lines; `logs` may be a single log, that of the first instance."""
    if isinstance(logs, TaskLog):
        logs = {(instances[0].task_id, instances[0].map_index): logs}
    report = report_of(
        run=of or run(),
        url="http://u",
        instances=instances,
        logs=logs or {},
        log_lines=log_lines,
        masker=Masker(["correct-horse"]),
        is_over=is_over,
        left_out=left_out,
    )
    assert report.is_over == is_over
    lines = failure_text(report).split("\n")
    assert lines[-1] == LINK
    return lines[:-1]


def test_failure_report_starts_with_the_most_important_facts() -> None:
    frames = (
        Frame("/opt/lib/python3.12/site-packages/airflow/sdk/task_runner.py", 1, "run"),
        Frame("/opt/airflow/dags/regions.py", 36, "look_up"),
        Frame("/usr/lib/python3.12/json/__init__.py", 2, "loads"),
    )
    chain = (LoggedException("ValueError", "no region named north", frames), LoggedException("KeyError", "'north'"))
    events = (
        LogEvent(None, "::group::Log message source details"),
        LogEvent(None, "/logs/attempt=2.log"),
        LogEvent(None, "::endgroup::"),
        LogEvent("info", "::group::Pre Execute", "task"),
        LogEvent("info", "Worker startup parse complete", "task"),
        LogEvent("info", "::endgroup::", "task"),
        LogEvent("info", "asking with correct-horse", "regions"),
        LogEvent("error", "Task failed with exception", "task", chain),
        LogEvent("info", "::group::Post Execute", "task"),
        LogEvent("info", "\x1b[31mlate\x1b[0m line", "task.stdout"),
    )
    assert told(
        instance("look_up", try_number=2, max_tries=1),
        instance("work", "upstream_failed", try_number=0),
        instance("other", "skipped"),
        instance("prepare", "success"),
        logs=log(*events),
    ) == [
        FAILED,
        "Task look_up failed on try 2 of 2: ValueError: no region named north",
        "  It began with KeyError: 'north'",
        "  Raised in dags/regions.py, line 36, in look_up",
        "  The end of its log:",
        "    asking with ***",
        "    late line",
        "Already succeeded, and is not undone: prepare.",
        "Not run, because an earlier task failed: work.",
        "Skipped: other.",
        LASTING,
    ]


@pytest.mark.parametrize(
    ("task_log", "reason", "outlook"),
    [
        (raised(("KeyError", "")), "KeyError", LASTING),
        (raised(("E", "password=abc")), "E: password=***", UNKNOWN),
        (raised(("E", "two\nlines")), "E: two\n  lines", UNKNOWN),
        (raised(("ConnectionRefusedError", "no")), "ConnectionRefusedError: no", PASSING),
        (raised(("BrokenPipeError", "no")), "BrokenPipeError: no", PASSING),
        (
            raised(("AirflowTaskTimeout", "Timeout, PID: 17")),
            "it took longer than its execution_timeout allows (AirflowTaskTimeout)",
            PASSING,
        ),
        (
            log(LogEvent("critical", "Process terminated by signal.", "task", signal="SIGKILL")),
            "SIGKILL ended its process, most likely because memory ran out",
            PASSING,
        ),
        (log(LogEvent("error", "x", "task", signal="SIGABRT")), "SIGABRT ended its process", PASSING),
        (log(LogEvent("error", "Task exited", "task", exit_code=7)), "its process ended with exit code 7", UNKNOWN),
        (
            log(LogEvent("error", "Task exited", "task", exit_code=0)),
            "it called sys.exit(0), which Airflow counts as a failure",
            LASTING,
        ),
        (
            log(LogEvent("error", "Task exited", "task", exit_code="no region, password=abc")),
            "it called sys.exit: no region, password=***",
            UNKNOWN,
        ),
        (
            log(
                LogEvent("error", "Dag not found during start up", "task"),
                LogEvent("warning", "Process exited abnormally", "task", exit_code=1),
            ),
            "Dag not found during start up; its process ended with exit code 1",
            UNKNOWN,
        ),
        (
            log(LogEvent("error", "deploying", exit_code="a text of somebody's own")),
            "its log contains no exception; it was set to failed by hand, or lost with its machine",
            PASSING,
        ),
        (
            log(LogEvent("error", STOPPED_FROM_OUTSIDE, "task")),
            "its state was set to failed from outside while it ran",
            STOPPED,
        ),
        (
            log(LogEvent("info", "Worker startup parse complete", "task")),
            "its log contains no exception; it was set to failed by hand, or lost with its machine",
            PASSING,
        ),
        (
            TaskLog(missing=MissingLog.NOT_FOUND),
            "the reason is unknown, because Airflow has no log of it",
            UNKNOWN,
        ),
        (
            log(LogEvent(None, "::group::Log message source details"), LogEvent(None, "::endgroup::")),
            "the reason is unknown, because its log is empty",
            UNKNOWN,
        ),
    ],
)
def test_report_gives_the_reason_and_says_whether_a_retry_may_help(
    task_log: TaskLog, reason: str, outlook: str
) -> None:
    lines = told(instance("t"), logs=task_log, log_lines=0)

    assert "\n".join(lines[1:]) == f"Task t failed on try 1 of 1: {reason}\n{outlook}"


def test_failure_caused_by_a_temporary_error_is_temporary() -> None:
    chain = raised(("ValueError", "no answer"), ("LookupError", "no row"), ("ReadTimeout", "5 s\nor so"))
    assert told(instance("t"), logs=chain)[1:] == [
        "Task t failed on try 1 of 1: ValueError: no answer",
        "  It began with ReadTimeout: 5 s",
        "  or so",
        PASSING,
    ]


@pytest.mark.parametrize(
    ("second", "outlook"), [("ValueError", LASTING), ("ReadTimeout", PASSING), ("OSError", UNKNOWN)]
)
def test_a_group_of_exceptions_names_its_members(second: str, outlook: str) -> None:
    group = raised(("ExceptionGroup", "two things (2 sub-exceptions)"), ("OSError", "1"), (second, "2"))
    assert told(instance("t"), logs=group)[1:] == [
        "Task t failed on try 1 of 1: ExceptionGroup: two things (2 sub-exceptions)",
        f"  It began with OSError: 1; {second}: 2",
        outlook,
    ]


def test_caught_exception_is_not_the_reason() -> None:
    caught = LogEvent("error", "asking again", "shop", (LoggedException("ReadTimeout", "5 s"),))
    killed = LogEvent("critical", "Process terminated by signal.", "task", signal="SIGKILL")
    assert told(instance("t"), logs=log(killed, caught)) == [
        FAILED,
        "Task t failed on try 1 of 1: SIGKILL ended its process, most likely because memory ran out",
        "  The end of its log:",
        "    ERROR asking again (ReadTimeout: 5 s)",
        PASSING,
    ]


KEY_ERROR = (LoggedException("KeyError", "'north'"),)
LATER_ERROR = (LoggedException("RuntimeError", "the callback failed"),)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(
            [
                LogEvent("error", "Top level error", "task", KEY_ERROR),
                LogEvent("warning", "Process exited abnormally", "task", exit_code=1),
            ],
            id="exit code",
        ),
        pytest.param(
            [
                LogEvent("error", "Failed to set rendered fields", "task", KEY_ERROR),
                LogEvent("warning", "Process exited abnormally", "task", exit_code=1),
            ],
            id="another error of Airflow's own, and an exit code",
        ),
        pytest.param(
            [
                LogEvent("error", "Task failed with exception", "task", KEY_ERROR),
                LogEvent("error", "Failed to run task callback", "task", LATER_ERROR),
            ],
            id="a callback that failed, too",
        ),
        pytest.param(
            [
                LogEvent("error", "Task failed with exception", "task", KEY_ERROR),
                LogEvent("critical", "Process terminated by signal.", "task", signal="SIGKILL"),
            ],
            id="a process that was killed afterwards",
        ),
    ],
)
def test_fatal_exception_outranks_its_consequences(events: list[LogEvent]) -> None:
    assert told(instance("t"), logs=log(*events), log_lines=0)[1:] == [
        "Task t failed on try 1 of 1: KeyError: 'north'",
        LASTING,
    ]


def test_signal_outranks_a_harmless_exception() -> None:
    listener = LogEvent("error", "error calling listener", "task", LATER_ERROR)
    killed = LogEvent("critical", "Process terminated by signal.", "task", signal="SIGKILL")
    assert told(instance("t"), logs=log(killed, listener), log_lines=0)[1:] == [
        "Task t failed on try 1 of 1: SIGKILL ended its process, most likely because memory ran out",
        PASSING,
    ]


def test_task_that_ended_with_its_run_was_stopped_from_outside() -> None:
    lines = told(instance("t", end_date=at(100)), logs=log(LogEvent("info", "working", "task.stdout")))
    assert lines == [
        FAILED,
        "Task t failed on try 1 of 1: its state was set to failed from outside while it ran",
        "  The end of its log:",
        "    working",
        STOPPED,
    ]


def test_report_says_if_the_remaining_tries_are_not_used() -> None:
    closed = raised(("AirflowFailException", "closed"))
    first = "Task t failed on try 1 of 3, and is not tried again: AirflowFailException: closed"
    assert told(instance("t", max_tries=2), logs=closed)[1] == first
    for tried, more in ((2, ", and is not tried again"), (3, "")):
        line = told(instance("t", try_number=tried, max_tries=2), logs=closed)[1]
        assert line == f"Task t failed on try {tried} of 3{more}: AirflowFailException: closed"
    line = told(instance("t", max_tries=2), logs=raised(("E", "no")))[1]
    assert line == "Task t failed on try 1 of 3: E: no"


def test_task_that_never_started_failed_before_its_first_try() -> None:
    gone = TaskLog(missing=MissingLog.NOT_FOUND)
    assert told(instance("t", try_number=0, end_date=None), logs=gone)[1] == (
        "Task t failed before its first try: the reason is unknown, because Airflow has no log of it"
    )


def test_instances_with_the_same_reason_are_reported_together() -> None:
    mapped = [instance("t", map_index=index, end_date=at(9 - index)) for index in range(0, 8, 2)]
    fine = [instance("t", "success", map_index=index) for index in range(1, 8, 2)]
    zero = raised(("ZeroDivisionError", "no"))

    assert told(*mapped, *fine, logs={("t", index): zero for index in (6, 4, 2)}) == [
        FAILED,
        "Task t failed in 4 of its 8 instances (map indexes 0, 2, 4, 6) on try 1 of 1: ZeroDivisionError: no",
        "Already succeeded, and is not undone: t (4 of 8 instances).",
        LASTING,
    ]


def test_instances_with_different_reasons_are_reported_separately() -> None:
    logs = {
        ("t", 0): raised(("A", "1")),
        ("t", 1): TaskLog((*raised(("B", "2")).events, LogEvent("info", "hello", "task.stdout"))),
        ("t", 2): raised(("A", "1")),
    }
    assert told(*(instance("t", map_index=index) for index in range(5)), logs=logs) == [
        FAILED,
        "Task t failed in 2 of its 5 instances (map indexes 0, 2) on try 1 of 1: A: 1",
        "Task t[1] failed on try 1 of 1: B: 2",
        "  The end of its log:",
        "    hello",
        "Task t failed in 2 of its 5 instances (map indexes 3, 4); the logs were not read.",
        UNKNOWN,
    ]


def test_single_mapped_instance_is_named_with_its_index() -> None:
    assert told(instance("t", map_index=0), logs=raised(("E", "1")))[1] == "Task t[0] failed on try 1 of 1: E: 1"


def test_failures_are_reported_in_the_order_of_their_end_dates() -> None:
    instances = [instance("a", end_date=None), instance("b", end_date=at(5)), instance("c", end_date=at(1))]
    logs = {(one.task_id, -1): raised(("E", one.task_id)) for one in instances}
    assert [line[-1] for line in told(*instances, logs=logs)[1:4]] == ["c", "b", "a"]


def test_log_shown_for_several_instances_names_its_instance() -> None:
    zero = TaskLog((*raised(("E", "0")).events, LogEvent("info", "hello", "task.stdout")))
    lines = told(*(instance("t", map_index=index) for index in (3, 5)), logs={("t", 3): zero, ("t", 5): zero})
    assert lines[2:4] == ["  The end of the log of t[3]:", "    hello"]


def test_further_failures_are_counted() -> None:
    instances = [instance(f"t{number}", end_date=at(number)) for number in range(8)]
    logs = {(one.task_id, -1): raised(("E", one.task_id)) for one in instances}
    lines = told(*instances, logs=logs)
    assert lines[1:] == [
        *(f"Task t{number} failed on try 1 of 1: E: t{number}" for number in range(5)),
        "3 more task instances failed.",
        UNKNOWN,
    ]


def test_logs_of_a_few_instances_per_task_are_read_in_order_of_failure() -> None:
    mapped = [instance("m", map_index=index, end_date=at(50 + index)) for index in range(10)]
    others = [instance(name, end_date=at(10)) for name in "ba"]
    more = [instance(f"z{number}", end_date=at(90)) for number in range(10)]
    fine = instance("fine", "upstream_failed")

    chosen = instances_to_read([*more, *mapped, fine, *others])

    assert [one.task_id for one in chosen] == ["a", "b", "m", "m", "m", "z0"]
    assert len(chosen) == MAX_LOGS
    assert [one.map_index for one in chosen if one.task_id == "m"] == list(range(MAX_LOGS_OF_A_TASK))


def test_run_that_exceeded_dagrun_timeout_says_so() -> None:
    cut = instance("sleep", "skipped", end_date=None)
    assert told(instance("prepare", "success"), cut, instance("work", "skipped", end_date=None)) == [
        FAILED,
        "It exceeded the dag's dagrun_timeout, so Airflow stopped it and skipped the remaining tasks.",
        "Already succeeded, and is not undone: prepare.",
        "Skipped: sleep, work.",
        PASSING,
    ]


def test_run_without_a_failed_task_was_probably_stopped_on_purpose() -> None:
    assert told(instance("t", "skipped")) == [
        FAILED,
        "None of its tasks failed: someone set the run to failed, or no task in it could run any more.",
        "Skipped: t.",
        STOPPED,
    ]


def test_report_says_that_a_run_continues_without_its_result() -> None:
    of = run(RunState.RUNNING)
    going = [instance("slow", "running"), instance("next", None)]  # type: ignore[arg-type]
    assert told(instance("t"), *going, logs=raised(("ValueError", "no")), of=of, is_over=False) == [
        "The run r of dag d continues, but can no longer produce its result.",
        "Task t failed on try 1 of 1: ValueError: no",
        "Still active: slow.",
        LASTING.replace("a new run", "another run beside this one"),
    ]


@pytest.mark.parametrize("state", ["running", "deferred", "queued", "scheduled", "restarting", "up_for_retry"])
def test_active_task_instances_are_listed(state: str) -> None:
    lines = told(instance("t"), instance("slow", state), logs=raised(("E", "no")), of=run(RunState.RUNNING))
    assert "Still active: slow." in lines


def test_report_says_that_a_run_is_about_to_end_without_its_result() -> None:
    of = run(RunState.RUNNING)
    assert told(instance("t"), instance("prepare", "success"), logs=raised(("E", "no")), of=of, is_over=False) == [
        "The run r of dag d is about to end without its result.",
        "Task t failed on try 1 of 1: E: no",
        "Already succeeded, and is not undone: prepare.",
        UNKNOWN,
    ]


@pytest.mark.parametrize(
    ("state", "first"),
    [
        (RunState.SUCCESS, "The run r of dag d succeeded, but without its result."),
        (RunState.QUEUED, "The run r of dag d failed, but was cleared since: it is running again."),
    ],
)
def test_report_starts_with_the_current_state_of_the_run(state: RunState, first: str) -> None:
    assert told(instance("t", "success"), of=run(state))[0] == first


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([f"task_{number:03}" for number in range(60)], 20),  # 20 * (8 + 2) = 200
        ([letter * 99 for letter in "abc"], 2),  # 99 + 2 + 99 = 200
        (["a" * 300, "b"], 1),
    ],
)
def test_long_list_of_names_is_shortened(names: list[str], shown: int) -> None:
    lines = told(*(instance(name, "skipped") for name in names))
    assert lines[2] == f"Skipped: {', '.join(names[:shown])} and {len(names) - shown} more."


def test_very_long_reason_is_shortened() -> None:
    said = told(instance("t"), logs=raised(("E", "x" * 900), ("F", "y" * 900)))
    assert said[1] == f"Task t failed on try 1 of 1: E: {'x' * 900}"
    assert said[2] == f"  It began with F: {'y' * 194} … {'y' * 100}"
    assert len(told(instance("t"), logs=raised(("E", "x" * 2000)))[1]) == len("Task t failed on try 1 of 1: ") + 1000


def test_report_is_limited_to_about_four_kilobytes() -> None:
    events = [LogEvent("info", f"{number} " + "x" * 500, "task.stdout") for number in range(1000)]
    instances = [instance(f"{number}{'t' * 100}", end_date=at(number)) for number in range(50)]
    fine = [instance(f"fine{number}{'t' * 100}", "success") for number in range(50)]
    logs = {(one.task_id, -1): TaskLog((*events, *raised(("E", "y" * 9999)).events)) for one in instances[:6]}

    text = "\n".join(told(*instances, *fine, logs=logs, log_lines=200))

    assert len(text) < 4500
    assert "and 49 more." in text


def test_traceback_within_libraries_gives_no_location() -> None:
    frames = (Frame("/x/site-packages/y.py", 1, "f"), Frame("", -1, "Skipped frames: 3"), Frame("<string>", 1, "g"))
    assert told(instance("t"), logs=raised(("E", "m"), frames=frames))[2] == UNKNOWN


def test_location_is_shown_on_one_line() -> None:
    frames = (Frame("/opt/airflow/dags/a\nb.py", 3, "f"),)
    assert told(instance("t"), logs=raised(("E", "m"), frames=frames))[2] == "  Raised in dags/a b.py, line 3, in f"


def test_tasks_that_did_not_run_are_named_and_counted() -> None:
    ended, later = datetime(2029, 12, 31, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
    omission = Omission(excluding_date=ExcludingDate("end_date", ended), logical_date=later)
    left_out = {f"t{number}": omission for number in range(7)}
    lines = told(instance("a", "success"), of=run(RunState.SUCCESS), left_out=left_out)

    assert lines[0] == "The run r of dag d succeeded, but without its result."
    why = f"its end_date was {ended.isoformat()}, and the run's logical date is {later.isoformat()}"
    assert lines[1:6] == [f"Task t{number} did not run: {why}." for number in range(5)]
    assert lines[6] == "2 more tasks did not run."
    assert lines[-1].startswith("Calling again has the same outcome until the dates in the dag are changed, or until ")


def test_a_run_of_a_dag_without_tasks_did_nothing() -> None:
    assert told(of=run(RunState.SUCCESS), left_out={}) == [
        "The run r of dag d did nothing: Airflow created no task instance for it, but reports success.",
        "The dag has no tasks.",
        LASTING,
    ]


@pytest.mark.parametrize(
    ("omission", "why"),
    [
        (Omission(is_in_dag=False), "the dag no longer has this task"),
        (Omission(logical_date=START), "the run has no instance of it; the dag has probably changed since"),
        (Omission(), "the run has no instance of it; the dag has probably changed since"),
    ],
)
def test_missing_task_without_dates_is_explained(omission: Omission, why: str) -> None:
    lines = told(instance("a", "success"), of=run(RunState.SUCCESS), left_out={"t": omission})
    assert lines[1] == f"Task t did not run: {why}."
    assert LASTING in lines
