"""A failed run -> a report of its failure.

Pure: a run, its task instances and their logs in, data out; `mcp` turns it into sentences. A task's output is included
without control characters, with secrets masked, and limited to a few thousand characters in all.

The advice whether calling again may help follows from names of exceptions (`PASSING`, `LASTING`); for others there is
none.

Longer than most modules, because the parts of a report and the evidence for each are read together.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto

from dagcall.airflow import FINISHED, ExcludingDate, Frame, LogEvent, LoggedException, Run, RunState, TaskInstance
from dagcall.masking import Masker
from dagcall.results.task_log import STOPPED_FROM_OUTSIDE, last_lines, plain, written_events

MAX_GROUPS = 5
"""Maximum failures that are described; the others are counted."""
MAX_LOGS = 6
MAX_LOGS_OF_A_TASK = 3
"""Maximum instances of one mapped task whose logs are read: they mostly fail for the same reason."""
MAX_LOG_CHARACTERS = 2000
"""For log lines of all failures together."""
PASSING = re.compile(
    r"Timeout|TimedOut|Connection|Unavailable|TooManyRequests|RateLimit|Throttl|Deadlock|TemporaryFailure"
    r"|^(?:BrokenPipeError|IncompleteRead|RemoteDisconnected|ServerDisconnectedError)$"
)
"""Names of exceptions with external causes, which may be gone at the next call; anywhere in the chain."""
LASTING = frozenset(
    {
        *("AirflowFailException", "AirflowNotFoundException", "ArithmeticError", "AssertionError", "AttributeError"),
        *("ImportError", "IndexError", "InvalidOperation", "JSONDecodeError", "KeyError", "LookupError"),
        *("ModuleNotFoundError", "NameError", "NotImplementedError", "OverflowError", "ParamValidationError"),
        *("SyntaxError", "TemplateNotFound", "TypeError", "UnboundLocalError", "UndefinedError", "UnicodeDecodeError"),
        *("UnicodeEncodeError", "ValidationError", "ValueError", "XComNotFound", "ZeroDivisionError"),
    }
)
"""Names of exceptions caused by the input or the code, which the next call will raise again."""
TASK_ENDED = frozenset({"Task failed with exception", "Top level error", "Ctrl-c hit"})
"""Airflow's log messages with the exception that ended a task (3.1 to 3.3)."""
TASK_EXITED = "Task exited"
"""Airflow's log message for a `sys.exit`, with any code."""
NOT_TRIED_AGAIN = frozenset({"AirflowFailException", "AirflowSensorTimeout"})
_LIBRARY = re.compile(r"/(?:site|dist)-packages/|/lib/python3|^<|^$")


class RetryAdvice(Enum):
    """What to expect from calling again with the same arguments."""

    UNKNOWN = auto()
    """A new run; nothing more is known."""
    PASSING = auto()
    """This kind of failure is often temporary."""
    LASTING = auto()
    """It will probably fail in the same way."""
    MISDATED = auto()
    """The same, until the dates in the dag are changed, or Airflow ignores them (`logical_date = "none"`)."""
    STOPPED = auto()
    """The run was probably stopped on purpose."""


class FailureKind(Enum):
    """What a run did instead of returning its result."""

    FAILED = auto()
    CANCELLED = auto()
    """By its caller; Airflow may report a success."""
    WITHOUT_RESULT = auto()
    """It succeeded, but without its result."""
    DID_NOTHING = auto()
    """It succeeded without a task instance."""
    CLEARED = auto()
    """It had failed, but was cleared and is running again."""
    ABOUT_TO_END = auto()
    """Without its result."""
    GOES_ON = auto()
    """Likewise."""


class Cause(Enum):
    """Why a run failed though none of its tasks did."""

    TOOK_TOO_LONG = auto()
    """It exceeded the dag's `dagrun_timeout`."""
    SET_TO_FAILED = auto()
    """By someone; or no task in it could run any more."""


class MissingLog(Enum):
    """Why dagcall does not have the log of a task instance."""

    NOT_ALLOWED = auto()
    """dagcall's account may not read logs."""
    TOO_LARGE = auto()
    NOT_FOUND = auto()
    NOT_RETURNED = auto()
    """Airflow could not return it in time."""
    EMPTY = auto()


@dataclass(frozen=True, slots=True)
class TaskLog:
    """The log of a task instance, as far as it could be read."""

    events: tuple[LogEvent, ...] = ()
    missing: MissingLog | None = None


class ReasonKind(Enum):
    """What ended a task instance."""

    EXCEPTION = auto()
    """`text` is its name and message."""
    TIMED_OUT = auto()
    """It exceeded the task's `execution_timeout`."""
    SIGNAL = auto()
    """`text` is its name."""
    EXIT = auto()
    """A `sys.exit` with `text`, or with 0."""
    PROCESS_ENDED = auto()
    """With `exit_code`; `text` is the last error in its log."""
    STOPPED = auto()
    """Its state was set to failed while it ran."""
    UNLOGGED = auto()
    """Its log contains no exception."""
    UNKNOWN = auto()
    """`missing_log` says why."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a task instance failed, according to its log."""

    kind: ReasonKind
    text: str = ""
    """Masked."""
    advice: RetryAdvice = RetryAdvice.UNKNOWN
    where: str = ""
    began_with: str = ""
    """The exception that caused the one in `text`."""
    is_tried_again: bool = True
    exit_code: int | None = None
    missing_log: MissingLog | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Instances of one task that failed for the same reason."""

    reason: Reason | None
    """None if their logs were not read."""
    instances: tuple[TaskInstance, ...]
    log: TaskLog = TaskLog()
    log_tail: tuple[str, ...] = ()
    """The end of the first instance's log, masked."""


@dataclass(frozen=True, slots=True)
class Omission:
    """Why a run has no instance of a task. Without a date, the dag has probably changed since the run."""

    is_in_dag: bool = True
    """Whether the dag still has the task."""
    excluding_date: ExcludingDate | None = None
    """The task's date that excludes the run's `logical_date`."""
    logical_date: datetime | None = None


@dataclass(frozen=True, slots=True)
class FailureReport:
    """Why a run did not return its result."""

    dag_id: str
    run_id: str
    url: str
    """The run in Airflow's UI."""
    kind: FailureKind
    advice: RetryAdvice = RetryAdvice.UNKNOWN
    cause: Cause | None = None
    groups: tuple[Group, ...] = ()
    """The task instances that failed, in order of their ends."""
    instances: tuple[TaskInstance, ...] = ()
    """All task instances of the run."""
    left_out: Mapping[str, Omission] | None = None
    """Result tasks without an instance in the run; {} if the dag has no tasks."""
    is_over: bool = True
    """False if the run continues, but can no longer produce its result."""
    goes_on: bool = False
    """Whether the run has unfinished tasks."""


Logs = Mapping[tuple[str, int], TaskLog]
"""(task id, map index) -> log."""


def instances_to_read(instances: Sequence[TaskInstance]) -> list[TaskInstance]:
    """Return the instances whose logs to read, the first failure first."""
    chosen: list[TaskInstance] = []
    for instance in _failed(instances):
        of_this_task = sum(other.task_id == instance.task_id for other in chosen)
        if of_this_task < MAX_LOGS_OF_A_TASK and len(chosen) < MAX_LOGS:
            chosen.append(instance)
    return chosen


def report_of(
    *,
    run: Run,
    url: str,
    instances: Sequence[TaskInstance],
    logs: Logs,
    log_lines: int,
    masker: Masker,
    is_over: bool,
    left_out: Mapping[str, Omission] | None = None,
) -> FailureReport:
    """Return the report of a failed run.

    Args:
        run: the run in its current state.
        url: the run in Airflow's UI.
        instances: all its task instances.
        logs: the logs of `instances_to_read`.
        log_lines: how many of the last lines of a log to include; 0 for none.
        masker: masks secrets.
        is_over: False if the run continues, but can no longer produce its result.
        left_out: result tasks without an instance in the run; {} if the dag has no tasks, None if none are missing.
    """
    groups = _groups(instances, logs, run, masker)
    share = min(len(groups), MAX_GROUPS)
    tails = [
        tuple(last_lines(group.log.events, log_lines, MAX_LOG_CHARACTERS // share, masker)) if number < share else ()
        for number, group in enumerate(groups)
    ]
    goes_on = not run.state.is_final and any(instance.state not in FINISHED for instance in instances)
    kind = _kind(run, is_over=is_over, goes_on=goes_on)
    if left_out is not None and not instances:
        kind = FailureKind.DID_NOTHING
    advice, cause = _advice(groups), None
    if left_out is not None:
        advice = _advice_without(left_out)
    if not groups and run.state is RunState.FAILED:
        cause, advice = _without_failed_task(instances)
    return FailureReport(
        dag_id=run.dag_id,
        run_id=run.run_id,
        url=url,
        kind=kind,
        advice=advice,
        cause=cause,
        groups=tuple(replace(group, log_tail=tail) for group, tail in zip(groups, tails, strict=True)),
        instances=tuple(instances),
        left_out=left_out,
        is_over=is_over,
        goes_on=goes_on,
    )


def _failed(instances: Iterable[TaskInstance]) -> list[TaskInstance]:
    """Return the task instances that failed themselves, without those that never started, in order of their ends."""
    failed = [instance for instance in instances if instance.state == "failed"]
    return sorted(failed, key=lambda one: (one.end_date is None, one.end_date or 0, one.task_id, one.map_index))


def _groups(instances: Sequence[TaskInstance], logs: Logs, run: Run, masker: Masker) -> list[Group]:
    """Group the failed instances by task and reason; those without a log join the task's only known reason."""
    found: dict[tuple[str, Reason | None], list[TaskInstance]] = {}
    for instance in _failed(instances):
        log = logs.get((instance.task_id, instance.map_index))
        reason = None if log is None else _reason(instance, log, run, masker)
        found.setdefault((instance.task_id, reason), []).append(instance)
    for task_id, reason in [key for key in found if key[1] is None]:
        known = [key for key in found if key[0] == task_id and key[1] is not None]
        if len(known) == 1:
            found[known[0]] += found.pop((task_id, reason))
    return [
        Group(reason, tuple(same), logs.get((task_id, same[0].map_index), TaskLog()))
        for (task_id, reason), same in found.items()
    ]


# Why a task failed


def _reason(instance: TaskInstance, log: TaskLog, run: Run, masker: Masker) -> Reason:
    if _was_stopped(instance, log, run):
        return Reason(ReasonKind.STOPPED, advice=RetryAdvice.STOPPED)
    if missing := log.missing or (None if written_events(log.events) else MissingLog.EMPTY):
        return Reason(ReasonKind.UNKNOWN, missing_log=missing)
    events = [event for event in log.events if event.logger in {None, "task"}]  # others log what they caught
    for tells_why in (_has_ended_the_task, _has_ended_the_process, _reports_an_exception, _reports_an_exit):
        for event in reversed(events):
            if tells_why(event):
                return _event_reason(event, events, masker)
    return Reason(ReasonKind.UNLOGGED, advice=RetryAdvice.PASSING)


def _has_ended_the_task(event: LogEvent) -> bool:
    """Return whether the event reports the exception that ended the task. Callbacks may raise others afterwards."""
    return bool(event.exceptions) and event.event in TASK_ENDED


def _has_ended_the_process(event: LogEvent) -> bool:
    """Return whether the event contains a signal, or the argument of `sys.exit`."""
    return event.signal is not None or (event.exit_code is not None and event.event == TASK_EXITED)


def _reports_an_exception(event: LogEvent) -> bool:
    return bool(event.exceptions)


def _reports_an_exit(event: LogEvent) -> bool:
    return isinstance(event.exit_code, int) and event.exit_code != 0


def _event_reason(event: LogEvent, events: Sequence[LogEvent], masker: Masker) -> Reason:
    if event.exceptions:
        return _exception_reason(event.exceptions, masker)
    if event.signal is not None:
        return Reason(ReasonKind.SIGNAL, event.signal, RetryAdvice.PASSING)
    if isinstance(event.exit_code, str):
        return Reason(ReasonKind.EXIT, masker.masked(plain(event.exit_code)).strip())
    if event.exit_code == 0:
        return Reason(ReasonKind.EXIT, advice=RetryAdvice.LASTING)
    errors = [other.event for other in events if other.level == "error" and other is not event]
    text = masker.masked(plain(errors[-1])).strip() if errors else ""
    return Reason(ReasonKind.PROCESS_ENDED, text, exit_code=event.exit_code)


def _was_stopped(instance: TaskInstance, log: TaskLog, run: Run) -> bool:
    """Return whether the task's state was changed while it ran.

    Its log says so once the task has noticed. Until then, the times show it: normally a run ends after its tasks, but a
    run that is set to failed ends before its running tasks are stopped (measured on 3.1.8, 3.2.2 and 3.3.2).
    """
    if any(event.event.startswith(STOPPED_FROM_OUTSIDE) for event in log.events):
        return True
    return instance.end_date is not None and run.end_date is not None and instance.end_date >= run.end_date


def _exception_reason(exceptions: Sequence[LoggedException], masker: Masker) -> Reason:
    raised, *others = exceptions
    is_group = raised.kind.endswith("ExceptionGroup")
    deciding = others if is_group else [raised]
    is_lasting = any(exception.kind in LASTING for exception in deciding)
    is_passing = any(PASSING.search(exception.kind) for exception in exceptions)
    advice = RetryAdvice.LASTING if is_lasting else RetryAdvice.UNKNOWN
    if is_passing and not (is_group and is_lasting):
        advice = RetryAdvice.PASSING
    return Reason(
        ReasonKind.TIMED_OUT if raised.kind == "AirflowTaskTimeout" else ReasonKind.EXCEPTION,
        _said(raised, masker),
        advice=advice,
        where=next((spot for exception in exceptions if (spot := _where(exception.frames))), ""),
        began_with="; ".join(_said(exception, masker) for exception in (others if is_group else others[-1:])),
        is_tried_again=raised.kind not in NOT_TRIED_AGAIN,
    )


def _said(exception: LoggedException, masker: Masker) -> str:
    text = f"{exception.kind}: {exception.message}" if exception.message else exception.kind
    return masker.masked(plain(text)).strip()


def _where(frames: Sequence[Frame]) -> str:
    """Return the last step of a traceback outside libraries, in the dag author's own code."""
    for frame in reversed(frames):
        if not _LIBRARY.search(frame.filename):
            path = "/".join(frame.filename.split("/")[-2:])
            return plain(f"{path}, line {frame.line}, in {frame.function}").replace("\n", " ")
    return ""


def _advice(groups: Sequence[Group]) -> RetryAdvice:
    """Return the advice for all reasons together: one lasting failure is enough."""
    advices = {group.reason.advice for group in groups if group.reason is not None}
    order = (RetryAdvice.STOPPED, RetryAdvice.LASTING, RetryAdvice.UNKNOWN, RetryAdvice.PASSING)
    return next((advice for advice in order if advice in advices), RetryAdvice.UNKNOWN)


def _without_failed_task(instances: Sequence[TaskInstance]) -> tuple[Cause, RetryAdvice]:
    """Explain a run that failed although none of its tasks did.

    When a run exceeds its time-out, Airflow sets unfinished tasks to skipped and, only there, sets no end date
    (`_schedule_dag_run`, 3.1 to 3.3).
    """
    if any(instance.state == "skipped" and instance.end_date is None for instance in instances):
        return Cause.TOOK_TOO_LONG, RetryAdvice.PASSING
    return Cause.SET_TO_FAILED, RetryAdvice.STOPPED


def _advice_without(left_out: Mapping[str, Omission]) -> RetryAdvice:
    is_for_dates = any(omission.excluding_date for omission in left_out.values())
    return RetryAdvice.MISDATED if is_for_dates else RetryAdvice.LASTING


def _kind(run: Run, *, is_over: bool, goes_on: bool) -> FailureKind:
    if run.state is RunState.FAILED:
        return FailureKind.FAILED
    if run.state is RunState.SUCCESS:
        return FailureKind.WITHOUT_RESULT
    if is_over:
        return FailureKind.CLEARED
    return FailureKind.GOES_ON if goes_on else FailureKind.ABOUT_TO_END
