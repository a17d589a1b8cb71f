"""A failed run -> the text that its caller reads.

Pure: task instances and log events in, sentences out.
"""

from collections.abc import Mapping, Sequence

from dagcall.model import LogEvent, TaskInstance

MAX_TASKS = 5
"""How many failed tasks are described; the others are counted."""
MAX_EXCEPTION_CHARACTERS = 1000


def failed_instances(instances: Sequence[TaskInstance]) -> list[TaskInstance]:
    """Return the task instances that failed themselves, in a stable order; not those that had no chance to start."""
    failed = [instance for instance in instances if instance.state == "failed"]
    return sorted(failed, key=lambda instance: (instance.task_id, instance.map_index))


def exception_in(events: Sequence[LogEvent]) -> str | None:
    """Return the last exception that a task's log reports, e.g. `ValueError: no such region`.

    A chained exception is told by the one that was raised last, as a traceback ends with it.
    """
    for event in reversed(events):
        if event.exceptions:
            kind, message = event.exceptions[0]
            text = f"{kind}: {message}" if message else kind
            return text if len(text) <= MAX_EXCEPTION_CHARACTERS else f"{text[:MAX_EXCEPTION_CHARACTERS]}…"
    return None


def failure_text(
    *,
    dag_id: str,
    run_id: str,
    url: str,
    instances: Sequence[TaskInstance],
    exceptions: Mapping[tuple[str, int], str],
) -> str:
    """Return what a caller reads of a failed run.

    Args:
        dag_id: the dag.
        run_id: the run.
        url: the run in Airflow's UI.
        instances: all task instances of the run.
        exceptions: (task id, map index) -> the exception in its log, where one was found.
    """
    failed = failed_instances(instances)
    lines = [f"The run {run_id} of dag {dag_id} failed."]
    for instance in failed[:MAX_TASKS]:
        where = instance.task_id if instance.map_index < 0 else f"{instance.task_id}[{instance.map_index}]"
        tries = f"on try {instance.try_number} of {max(instance.max_tries + 1, instance.try_number)}"
        reason = exceptions.get((instance.task_id, instance.map_index))
        lines.append(f"Task {where} failed {tries}" + (f": {reason}" if reason else "; its log names no exception."))
    if len(failed) > MAX_TASKS:
        lines.append(f"{len(failed) - MAX_TASKS} more tasks failed.")
    if not failed:
        lines.append("No task of it failed: it ran into its time limit, or somebody set it to failed.")
    if done := sorted({instance.task_id for instance in instances if instance.state == "success"}):
        lines.append(f"Done before that, and not undone: {', '.join(done)}.")
    lines.append(f"Calling again starts a new run. This one, for people: {url}")
    return "\n".join(lines)
