"""A failure report -> text for a model or a person.

Pure.
"""

from collections.abc import Mapping, Sequence

from dagcall.airflow import TaskInstance
from dagcall.results import (
    MAX_GROUPS,
    MAX_LINE_CHARACTERS,
    Cause,
    FailureKind,
    FailureReport,
    Group,
    MissingLog,
    Omission,
    Reason,
    ReasonKind,
    RetryAdvice,
)
from dagcall.text import shortened

MAX_REASON_CHARACTERS = 1000
"""For the exception messages of all failures together."""
MAX_NAMES_CHARACTERS = 200
ADVICE = {
    RetryAdvice.UNKNOWN: "Calling again starts a new run.",
    RetryAdvice.PASSING: "Calling again starts a new run and may help: this kind of failure is often temporary.",
    RetryAdvice.LASTING: (
        "Calling again with the same arguments starts a new run, which will probably fail in the same way."
    ),
    RetryAdvice.MISDATED: (
        "Calling again has the same outcome until the dates in the dag are changed, or until dagcall's settings have "
        'logical_date = "none" for this tool: Airflow then ignores the dates.'
    ),
    RetryAdvice.STOPPED: "It was probably stopped on purpose: find out why before calling again.",
}
KINDS = {
    FailureKind.FAILED: "failed.",
    FailureKind.CANCELLED: "was cancelled by its caller.",
    FailureKind.WITHOUT_RESULT: "succeeded, but without its result.",
    FailureKind.DID_NOTHING: "did nothing: Airflow created no task instance for it, but reports success.",
    FailureKind.CLEARED: "failed, but was cleared since: it is running again.",
    FailureKind.ABOUT_TO_END: "is about to end without its result.",
    FailureKind.GOES_ON: "continues, but can no longer produce its result.",
}
MISSING_LOGS = {
    MissingLog.NOT_ALLOWED: "dagcall's account in Airflow may not read task logs",
    MissingLog.TOO_LARGE: "its log is larger than dagcall reads (airflow.max_answer_bytes)",
    MissingLog.NOT_FOUND: "Airflow has no log of it",
    MissingLog.NOT_RETURNED: "Airflow could not return its log",
    MissingLog.EMPTY: "its log is empty",
}
CAUSES = {
    Cause.TOOK_TOO_LONG: (
        "It exceeded the dag's dagrun_timeout, so Airflow stopped it and skipped the remaining tasks."
    ),
    Cause.SET_TO_FAILED: (
        "None of its tasks failed: someone set the run to failed, or no task in it could run any more."
    ),
}


def failure_text(report: FailureReport) -> str:
    """Return the text about a failed run, the most important part first."""
    lines = [f"The run {report.run_id} of dag {report.dag_id} {KINDS[report.kind]}"]
    described = report.groups[:MAX_GROUPS]
    for group in described:
        lines += _group_lines(group, report.instances, len(described))
    if len(report.groups) > len(described):
        more = sum(len(group.instances) for group in report.groups[len(described) :])
        lines.append(f"{more} more task instances failed.")
    if report.left_out is not None:
        lines += _omission_lines(report.left_out)
    if report.cause is not None:
        lines.append(CAUSES[report.cause])
    lines += _standing(report.instances, goes_on=report.goes_on)
    again = ADVICE[report.advice]
    if report.goes_on:
        again = again.replace("a new run", "another run beside this one")
    return "\n".join([*lines, again, f"For people: {report.url}"])


def _omission_lines(left_out: Mapping[str, Omission]) -> list[str]:
    lines = [f"Task {task_id} did not run: {_omission(why)}." for task_id, why in list(left_out.items())[:MAX_GROUPS]]
    if more := len(left_out) - len(lines):
        lines.append(f"{more} more tasks did not run.")
    return lines or ["The dag has no tasks."]


def _omission(why: Omission) -> str:
    if not why.is_in_dag:
        return "the dag no longer has this task"
    if why.excluding_date is None or why.logical_date is None:
        return "the run has no instance of it; the dag has probably changed since"
    return f"{why.excluding_date}, and the run's logical date is {why.logical_date.isoformat()}"


def _reason(reason: Reason) -> str:
    match reason.kind:
        case ReasonKind.EXCEPTION:
            return reason.text
        case ReasonKind.TIMED_OUT:
            return "it took longer than its execution_timeout allows (AirflowTaskTimeout)"
        case ReasonKind.SIGNAL:
            hint = ", most likely because memory ran out" if reason.text == "SIGKILL" else ""
            return f"{reason.text} ended its process{hint}"
        case ReasonKind.EXIT if reason.text:
            return f"it called sys.exit: {reason.text}"
        case ReasonKind.EXIT:
            return "it called sys.exit(0), which Airflow counts as a failure"
        case ReasonKind.PROCESS_ENDED:
            ended = f"its process ended with exit code {reason.exit_code}"
            return f"{reason.text}; {ended}" if reason.text else ended
        case ReasonKind.STOPPED:
            return "its state was set to failed from outside while it ran"
        case ReasonKind.UNLOGGED:
            return "its log contains no exception; it was set to failed by hand, or lost with its machine"
        case ReasonKind.UNKNOWN:
            return f"the reason is unknown, because {MISSING_LOGS[reason.missing_log or MissingLog.EMPTY]}"


def _group_lines(group: Group, instances: Sequence[TaskInstance], share: int) -> list[str]:
    first = group.instances[0]
    if group.reason is None:
        return [f"{_subject(group, instances)}; the logs were not read."]
    reason = group.reason
    tries = f"on try {first.try_number} of {max(first.max_tries + 1, first.try_number)}"
    if first.try_number == 0:
        tries = "before its first try"
    if not reason.is_tried_again and first.try_number <= first.max_tries:
        tries += ", and is not tried again"
    said = shortened(_reason(reason), MAX_REASON_CHARACTERS // share).replace("\n", "\n  ")
    lines = [f"{_subject(group, instances)} {tries}: {said}"]
    if reason.began_with:
        lines.append(f"  It began with {shortened(reason.began_with, MAX_LINE_CHARACTERS)}".replace("\n", "\n  "))
    if reason.where:
        lines.append(f"  Raised in {reason.where}")
    if shown := group.log_tail:
        of = f"the log of {first.name}" if len(group.instances) > 1 else "its log"
        lines += [f"  The end of {of}:", *(f"    {line}" for line in shown)]
    return lines


def _subject(group: Group, instances: Sequence[TaskInstance]) -> str:
    if len(group.instances) == 1:
        return f"Task {group.instances[0].name} failed"
    task_id = group.instances[0].task_id
    total = sum(instance.task_id == task_id for instance in instances)
    indexes = _listed([str(instance.map_index) for instance in sorted(group.instances, key=lambda one: one.map_index)])
    return f"Task {task_id} failed in {len(group.instances)} of its {total} instances (map indexes {indexes})"


def _standing(instances: Sequence[TaskInstance], *, goes_on: bool) -> list[str]:
    """Return what happened to the tasks that did not fail, one line per relevant state."""
    states = {
        "Already succeeded, and is not undone": {"success"},
        "Not run, because an earlier task failed": {"upstream_failed"},
        "Skipped": {"skipped"},
    }
    if goes_on:
        states["Still active"] = {"running", "deferred", "queued", "scheduled", "restarting", "up_for_retry"}
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
    """Return names as a list of limited length; the others are counted."""
    shown, length = 0, 0
    while shown < len(names) and (shown == 0 or length + len(names[shown]) <= MAX_NAMES_CHARACTERS):
        length += len(names[shown]) + 2
        shown += 1
    rest = f" and {len(names) - shown} more" if shown < len(names) else ""
    return ", ".join(names[:shown]) + rest
