"""A failed run -> the text that its caller reads.

Pure: a run, its task instances and their logs in, sentences out. Everything that a task wrote is shown without control
characters, with secrets masked, and no longer than a few thousand characters in all.

Whether calling again may help is said where the exceptions tell it, by their names (`PASSING`, `LASTING`); where they
do not, nothing is claimed.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from dagcall.airflow import FINISHED, Frame, LogEvent, LoggedException, Run, RunState, TaskInstance
from dagcall.masking import Masker
from dagcall.results.task_log import MAX_LINE_CHARACTERS, STOPPED_FROM_OUTSIDE, last_lines, plain, written_events
from dagcall.text import shortened

MAX_GROUPS = 5
"""How many failures are described; the others are counted."""
MAX_LOGS = 6
MAX_LOGS_OF_A_TASK = 3
"""How many instances of one mapped task are looked into: they mostly fail for the same reason."""
MAX_REASON_CHARACTERS = 1000
"""Of what an exception says, all failures together."""
MAX_LOG_CHARACTERS = 2000
"""Of log lines, all failures together."""
MAX_NAMES_CHARACTERS = 200
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

    UNKNOWN = "Calling again starts a new run."
    PASSING = "Calling again starts a new run, and may help: this kind of failure can pass."
    LASTING = "Calling again with the same arguments starts a new run, which will probably fail in the same way."
    MISDATED = (
        'Calling again comes to the same until somebody changes the dates in the dag, or sets logical_date = "none" '
        "for this tool in dagcall's settings: Airflow then ignores the dates."
    )
    STOPPED = "It was probably ended on purpose: find out why before calling again."


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
    outlook: RetryAdvice = RetryAdvice.UNKNOWN
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


@dataclass(frozen=True, slots=True)
class Omission:
    """Why a run has no instance of a task."""

    text: str
    """As a clause."""
    is_for_dates: bool = False


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


def failure_text(
    *,
    run: Run,
    url: str,
    instances: Sequence[TaskInstance],
    logs: Logs,
    log_lines: int,
    masker: Masker,
    is_over: bool,
    left_out: Mapping[str, Omission] | None = None,
) -> str:
    """Return what a caller reads of a failed run, the most important first.

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
    goes_on = not run.state.is_final and any(instance.state not in FINISHED for instance in instances)
    ending = _ending(run, is_over=is_over, goes_on=goes_on)
    if left_out is not None and not instances:
        ending = "did nothing: Airflow made no task instance for it, and calls it a success all the same."
    lines = [f"The run {run.run_id} of dag {run.dag_id} {ending}"]
    told = groups[:MAX_GROUPS]
    for group in told:
        lines += _group_lines(group, instances, log_lines=log_lines, share=len(told), masker=masker)
    if len(groups) > len(told):
        lines.append(f"{sum(len(group.instances) for group in groups[len(told) :])} more task instances failed.")
    outlook = _outlook(groups)
    if left_out is not None:
        lines += _omission_lines(left_out)
        outlook = _outlook_without(left_out)
    if not groups and run.state is RunState.FAILED:
        explanation, outlook = _without_failed_task(instances)
        lines.append(explanation)
    lines += _standing(instances, goes_on=goes_on)
    again = outlook.value.replace("a new run", "another run beside this one") if goes_on else outlook.value
    return "\n".join([*lines, again, f"For people: {url}"])


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
    outlook = RetryAdvice.LASTING if is_lasting else RetryAdvice.UNKNOWN
    if is_passing and not (is_group and is_lasting):
        outlook = RetryAdvice.PASSING
    said = _said(raised, masker)
    if raised.kind == "AirflowTaskTimeout":
        said = "it took longer than its execution_timeout allows (AirflowTaskTimeout)"
    return Reason(
        text=said,
        outlook=outlook,
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


def _outlook(groups: Sequence[Group]) -> RetryAdvice:
    """Return what all reasons together promise: one that lasts is enough."""
    outlooks = {group.reason.outlook for group in groups if group.reason is not None}
    order = (RetryAdvice.STOPPED, RetryAdvice.LASTING, RetryAdvice.UNKNOWN, RetryAdvice.PASSING)
    return next((outlook for outlook in order if outlook in outlooks), RetryAdvice.UNKNOWN)


def _without_failed_task(instances: Sequence[TaskInstance]) -> tuple[str, RetryAdvice]:
    """Explain a run that failed though none of its tasks did.

    When a run takes longer than its dag allows, Airflow sets what has not finished to skipped and, unlike everywhere
    else, leaves out when (`_schedule_dag_run`, 3.1 to 3.3).
    """
    if any(instance.state == "skipped" and instance.end_date is None for instance in instances):
        return (
            "It took longer than its dag allows (dagrun_timeout), so Airflow ended it and skipped what was not done.",
            RetryAdvice.PASSING,
        )
    return (
        "None of its tasks failed: somebody set the run to failed, or nothing in it could run any more.",
        RetryAdvice.STOPPED,
    )


def _outlook_without(left_out: Mapping[str, Omission]) -> RetryAdvice:
    is_for_dates = any(omission.is_for_dates for omission in left_out.values())
    return RetryAdvice.MISDATED if is_for_dates else RetryAdvice.LASTING


# In words


def _omission_lines(left_out: Mapping[str, Omission]) -> list[str]:
    lines = [f"Task {task_id} did not run: {why.text}." for task_id, why in list(left_out.items())[:MAX_GROUPS]]
    if more := len(left_out) - len(lines):
        lines.append(f"{more} more tasks did not run.")
    return lines or ["The dag has no tasks."]


def _ending(run: Run, *, is_over: bool, goes_on: bool) -> str:
    if run.state is RunState.FAILED:
        return "failed."
    if run.state is RunState.SUCCESS:
        return "succeeded, but what it was called for did not come of it."
    if is_over:
        return "failed, and somebody has cleared it since: it runs again."
    if not goes_on:
        return "is about to end without what it was called for."
    return "goes on, but what it was called for can no longer come of it."


def _group_lines(
    group: Group, instances: Sequence[TaskInstance], *, log_lines: int, share: int, masker: Masker
) -> list[str]:
    first = group.instances[0]
    if group.reason is None:
        return [f"{_subject(group, instances)}; the logs were not read."]
    reason = group.reason
    tries = f"on try {first.try_number} of {max(first.max_tries + 1, first.try_number)}"
    if first.try_number == 0:
        tries = "before its first try"
    if not reason.is_tried_again and first.try_number <= first.max_tries:
        tries += ", and is not tried again"
    said = shortened(reason.text, MAX_REASON_CHARACTERS // share).replace("\n", "\n  ")
    lines = [f"{_subject(group, instances)} {tries}: {said}"]
    if reason.began_with:
        lines.append(f"  It began with {shortened(reason.began_with, MAX_LINE_CHARACTERS)}".replace("\n", "\n  "))
    if reason.where:
        lines.append(f"  Raised in {reason.where}")
    if shown := last_lines(group.log.events, log_lines, MAX_LOG_CHARACTERS // share, masker):
        of = f"the log of {_name(first)}" if len(group.instances) > 1 else "its log"
        lines += [f"  The end of {of}:", *(f"    {line}" for line in shown)]
    return lines


def _subject(group: Group, instances: Sequence[TaskInstance]) -> str:
    if len(group.instances) == 1:
        return f"Task {_name(group.instances[0])} failed"
    task_id = group.instances[0].task_id
    total = sum(instance.task_id == task_id for instance in instances)
    indexes = _listed([str(instance.map_index) for instance in sorted(group.instances, key=lambda one: one.map_index)])
    return f"Task {task_id} failed in {len(group.instances)} of its {total} instances (map indexes {indexes})"


def _name(instance: TaskInstance) -> str:
    return instance.task_id if instance.map_index < 0 else f"{instance.task_id}[{instance.map_index}]"


def _standing(instances: Sequence[TaskInstance], *, goes_on: bool) -> list[str]:
    """Tell what became of the tasks that did not fail, one line for each state that matters."""
    states = {
        "Had succeeded before, and is not undone": {"success"},
        "Not run, for a task before it failed": {"upstream_failed"},
        "Skipped": {"skipped"},
    }
    if goes_on:
        states["Goes on"] = {"running", "deferred", "queued", "scheduled", "restarting", "up_for_retry"}
    lines = []
    for heading, wanted in states.items():
        if names := [_part(task_id, instances, wanted) for task_id in _task_ids(instances, wanted)]:
            lines.append(f"{heading}: {_listed(names)}.")
    return lines


def _task_ids(instances: Sequence[TaskInstance], states: set[str]) -> list[str]:
    return sorted({instance.task_id for instance in instances if instance.state in states})


def _part(task_id: str, instances: Sequence[TaskInstance], states: set[str]) -> str:
    """Return `task_id`, or `task_id (2 of 5 instances)`."""
    same = [instance for instance in instances if instance.task_id == task_id]
    count = sum(instance.state in states for instance in same)
    return task_id if count == len(same) else f"{task_id} ({count} of {len(same)} instances)"


def _listed(names: Sequence[str]) -> str:
    """Return names as a list that does not get too long; those left out are counted."""
    shown, length = 0, 0
    while shown < len(names) and (shown == 0 or length + len(names[shown]) <= MAX_NAMES_CHARACTERS):
        length += len(names[shown]) + 2
        shown += 1
    rest = f" and {len(names) - shown} more" if shown < len(names) else ""
    return ", ".join(names[:shown]) + rest
