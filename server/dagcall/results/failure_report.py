"""A failed run -> a report of its failure.

Pure: a run, its task instances and their logs in, data out; the sentences are made where it is told. What a task wrote
is without control characters here, with secrets masked, and no longer than a few thousand characters in all.

Whether calling again may help is said where the exceptions tell it, by their names (`PASSING`, `LASTING`); where they
do not, nothing is claimed.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from dagcall.airflow import FINISHED, Frame, LogEvent, LoggedException, Run, RunState, TaskInstance
from dagcall.masking import Masker
from dagcall.results.task_log import STOPPED_FROM_OUTSIDE, last_lines, plain, written_events

MAX_GROUPS = 5
"""How many failures are described; the others are counted."""
MAX_LOGS = 6
MAX_LOGS_OF_A_TASK = 3
"""How many instances of one mapped task are looked into: they mostly fail for the same reason."""
MAX_LOG_CHARACTERS = 2000
"""Of log lines, all failures together."""
PASSING = re.compile(
    r"Timeout|TimedOut|Connection|Unavailable|TooManyRequests|RateLimit|Throttl|Deadlock|TemporaryFailure"
    r"|^(?:BrokenPipeError|IncompleteRead|RemoteDisconnected|ServerDisconnectedError)$"
)
"""Names of exceptions that speak of something outside, which may be better by the next call; anywhere in the chain."""
LASTING = frozenset(
    {
        *("AirflowFailException", "AirflowNotFoundException", "ArithmeticError", "AssertionError", "AttributeError"),
        *("ImportError", "IndexError", "InvalidOperation", "JSONDecodeError", "KeyError", "LookupError"),
        *("ModuleNotFoundError", "NameError", "NotImplementedError", "OverflowError", "ParamValidationError"),
        *("SyntaxError", "TemplateNotFound", "TypeError", "UnboundLocalError", "UndefinedError", "UnicodeDecodeError"),
        *("UnicodeEncodeError", "ValidationError", "ValueError", "XComNotFound", "ZeroDivisionError"),
    }
)
"""Names of exceptions that speak of the input or of the code, which the next call will meet again."""
TASK_ENDED = frozenset({"Task failed with exception", "Top level error", "Ctrl-c hit"})
"""How Airflow's own account of a task introduces the exception that ended it (3.1 to 3.3)."""
TASK_EXITED = "Task exited"
"""How it introduces a `sys.exit`, with any code."""
NOT_TRIED_AGAIN = frozenset({"AirflowFailException", "AirflowSensorTimeout"})
_LIBRARY = re.compile(r"/(?:site|dist)-packages/|/lib/python3|^<|^$")


class RetryAdvice(Enum):
    """What calling again with the same arguments would come to."""

    UNKNOWN = auto()
    """A new run; nothing more is known."""
    PASSING = auto()
    """This kind of failure can pass."""
    LASTING = auto()
    """It will probably fail in the same way."""
    MISDATED = auto()
    """The same, until somebody changes the dates in the dag, or Airflow ignores them (`logical_date = "none"`)."""
    STOPPED = auto()
    """The run was probably ended on purpose."""


class FailureKind(Enum):
    """What a run did instead of delivering."""

    FAILED = auto()
    CANCELLED = auto()
    """By its caller; Airflow may call it a success."""
    WITHOUT_RESULT = auto()
    """It succeeded, without what it was called for."""
    DID_NOTHING = auto()
    """It succeeded without a task instance."""
    CLEARED = auto()
    """It had failed, and runs again."""
    ABOUT_TO_END = auto()
    """Without what it was called for."""
    GOES_ON = auto()
    """Likewise."""


class Cause(Enum):
    """Why a run failed though none of its tasks did."""

    TOOK_TOO_LONG = auto()
    """Longer than its dag allows (`dagrun_timeout`)."""
    SET_TO_FAILED = auto()
    """By somebody; or nothing in it could run any more."""


@dataclass(frozen=True, slots=True)
class TaskLog:
    """What could be read of the log of a task instance."""

    events: tuple[LogEvent, ...] = ()
    missing: str = ""
    """Why it could not be read, as a clause: "dagcall's account may not read logs"."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a task instance failed, as far as its log tells."""

    text: str
    advice: RetryAdvice = RetryAdvice.UNKNOWN
    where: str = ""
    began_with: str = ""
    """The exception that the one in `text` follows from."""
    is_tried_again: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """Instances of one task that failed for the same reason."""

    reason: Reason | None
    """None: their logs were not read."""
    instances: tuple[TaskInstance, ...]
    log: TaskLog = TaskLog()
    log_tail: tuple[str, ...] = ()
    """The end of the first instance's log, as it may be shown."""


@dataclass(frozen=True, slots=True)
class Omission:
    """Why a run has no instance of a task."""

    text: str
    """As a clause."""
    is_for_dates: bool = False


@dataclass(frozen=True, slots=True)
class FailureReport:
    """Why a run did not deliver."""

    dag_id: str
    run_id: str
    url: str
    """The run in Airflow's UI."""
    kind: FailureKind
    advice: RetryAdvice = RetryAdvice.UNKNOWN
    cause: Cause | None = None
    groups: tuple[Group, ...] = ()
    """The task instances that failed, those that ended first before the others."""
    instances: tuple[TaskInstance, ...] = ()
    """All of the run's."""
    left_out: Mapping[str, Omission] | None = None
    """Tasks that the result is missing because the run has no instance of them; {} where the dag has no tasks."""
    is_over: bool = True
    """False where the run goes on, but what it was called for can no longer come."""
    goes_on: bool = False
    """Whether something in the run is not finished yet."""


Logs = Mapping[tuple[str, int], TaskLog]
"""(task id, map index) -> log."""


def instances_to_read(instances: Sequence[TaskInstance]) -> list[TaskInstance]:
    """Return those whose logs are worth reading, the first failure first."""
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
    """Return what is known of a failed run.

    Args:
        run: the run as it is now.
        url: the run in Airflow's UI.
        instances: all its task instances.
        logs: of `instances_to_read`.
        log_lines: how many of the last lines of a log are shown; 0 for none.
        masker: hides secrets.
        is_over: False where the run goes on and only the result can no longer come.
        left_out: tasks that the result is missing because the run has no instance of them; {} where the dag has no
            tasks, None where nothing was left out.
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
    """Return the task instances that failed themselves, not those that never started; in order of their ends."""
    failed = [instance for instance in instances if instance.state == "failed"]
    return sorted(failed, key=lambda one: (one.end_date is None, one.end_date or 0, one.task_id, one.map_index))


def _groups(instances: Sequence[TaskInstance], logs: Logs, run: Run, masker: Masker) -> list[Group]:
    """Sort the failed instances by task and reason; unread ones join the only reason that others of the task gave."""
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
        return Reason("its state was set to failed from outside while it ran", RetryAdvice.STOPPED)
    if missing := log.missing or ("" if written_events(log.events) else "its log is empty"):
        return Reason(f"why is not known here, for {missing}")
    events = [event for event in log.events if event.logger in {None, "task"}]  # what another logged, it caught
    for tells_why in (_has_ended_the_task, _has_ended_the_process, _reports_an_exception, _reports_an_exit):
        for event in reversed(events):
            if tells_why(event):
                return _event_reason(event, events, masker)
    lost = "it was set to failed by hand, or lost together with its machine"
    return Reason(f"its log names no exception; {lost}", RetryAdvice.PASSING)


def _has_ended_the_task(event: LogEvent) -> bool:
    """Say whether the event reports the exception that ended the task. Callbacks may raise others afterwards."""
    return bool(event.exceptions) and event.event in TASK_ENDED


def _has_ended_the_process(event: LogEvent) -> bool:
    """Say whether the event names a signal, or what the task gave to `sys.exit`."""
    return event.signal is not None or (event.exit_code is not None and event.event == TASK_EXITED)


def _reports_an_exception(event: LogEvent) -> bool:
    return bool(event.exceptions)


def _reports_an_exit(event: LogEvent) -> bool:
    return isinstance(event.exit_code, int) and event.exit_code != 0


def _event_reason(event: LogEvent, events: Sequence[LogEvent], masker: Masker) -> Reason:
    if event.exceptions:
        return _exception_reason(event.exceptions, masker)
    if event.signal is not None:
        hint = ", most likely because memory ran out" if event.signal == "SIGKILL" else ""
        return Reason(f"{event.signal} ended its process{hint}", RetryAdvice.PASSING)
    if isinstance(event.exit_code, str):
        return Reason(f"it called sys.exit: {masker.masked(plain(event.exit_code)).strip()}")
    if event.exit_code == 0:
        return Reason("it called sys.exit(0), which Airflow counts as a failure", RetryAdvice.LASTING)
    reason = f"its process ended with exit code {event.exit_code}"
    errors = [other.event for other in events if other.level == "error" and other is not event]
    return Reason(f"{masker.masked(plain(errors[-1])).strip()}; {reason}" if errors else reason)


def _was_stopped(instance: TaskInstance, log: TaskLog, run: Run) -> bool:
    """Say whether the task's state was changed while it ran.

    Its log says so as soon as the task has noticed. Until then the times do: a run ends after its tasks, but one that
    is set to failed ends before those are ended that still run (measured on 3.1.8, 3.2.2 and 3.3.2).
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
    said = _said(raised, masker)
    if raised.kind == "AirflowTaskTimeout":
        said = "it took longer than its execution_timeout allows (AirflowTaskTimeout)"
    return Reason(
        text=said,
        advice=advice,
        where=next((spot for exception in exceptions if (spot := _where(exception.frames))), ""),
        began_with="; ".join(_said(exception, masker) for exception in (others if is_group else others[-1:])),
        is_tried_again=raised.kind not in NOT_TRIED_AGAIN,
    )


def _said(exception: LoggedException, masker: Masker) -> str:
    text = f"{exception.kind}: {exception.message}" if exception.message else exception.kind
    return masker.masked(plain(text)).strip()


def _where(frames: Sequence[Frame]) -> str:
    """Return the last step of a traceback that is in no library, which is the dag author's own code."""
    for frame in reversed(frames):
        if not _LIBRARY.search(frame.filename):
            path = "/".join(frame.filename.split("/")[-2:])
            return plain(f"{path}, line {frame.line}, in {frame.function}").replace("\n", " ")
    return ""


def _advice(groups: Sequence[Group]) -> RetryAdvice:
    """Return what all reasons together promise: one that lasts is enough."""
    advices = {group.reason.advice for group in groups if group.reason is not None}
    order = (RetryAdvice.STOPPED, RetryAdvice.LASTING, RetryAdvice.UNKNOWN, RetryAdvice.PASSING)
    return next((advice for advice in order if advice in advices), RetryAdvice.UNKNOWN)


def _without_failed_task(instances: Sequence[TaskInstance]) -> tuple[Cause, RetryAdvice]:
    """Explain a run that failed though none of its tasks did.

    When a run takes longer than its dag allows, Airflow sets what has not finished to skipped and, unlike everywhere
    else, leaves out when (`_schedule_dag_run`, 3.1 to 3.3).
    """
    if any(instance.state == "skipped" and instance.end_date is None for instance in instances):
        return Cause.TOOK_TOO_LONG, RetryAdvice.PASSING
    return Cause.SET_TO_FAILED, RetryAdvice.STOPPED


def _advice_without(left_out: Mapping[str, Omission]) -> RetryAdvice:
    is_for_dates = any(omission.is_for_dates for omission in left_out.values())
    return RetryAdvice.MISDATED if is_for_dates else RetryAdvice.LASTING


def _kind(run: Run, *, is_over: bool, goes_on: bool) -> FailureKind:
    if run.state is RunState.FAILED:
        return FailureKind.FAILED
    if run.state is RunState.SUCCESS:
        return FailureKind.WITHOUT_RESULT
    if is_over:
        return FailureKind.CLEARED
    return FailureKind.GOES_ON if goes_on else FailureKind.ABOUT_TO_END
