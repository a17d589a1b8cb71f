"""Task instances of an unfinished run -> its progress, in numbers and in words.

Pure. Knows Airflow's task instance states (3.1 to 3.3) and which of them are final.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from dagcall.airflow import FINISHED, Task, TaskInstance

LOST = frozenset({"failed", "upstream_failed"})
"""No retries left; a task that will be retried is `up_for_retry`."""
MAX_NAMES = 3
"""How many tasks a list names."""
FEWEST_PAST_RUNS = 3
"""Fewer runs say nothing about the usual duration."""


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """How far a run was when it was read."""

    finished: int
    """Task instances that have ended, in whatever state."""
    known: int
    """Task instances that exist; expanding a mapped task adds more."""
    doing: str
    """What is happening, e.g. `running: fit[2], report`; empty between two tasks."""


def task_progress(instances: Sequence[TaskInstance]) -> TaskProgress:
    """Return how far a run is."""
    return TaskProgress(sum(instance.state in FINISHED for instance in instances), len(instances), _doing(instances))


def not_started(instances: Sequence[TaskInstance]) -> list[TaskInstance]:
    """Return the task instances that wait to be queued, the due ones first; empty if any other is unfinished."""
    left = [instance for instance in instances if instance.state not in FINISHED]
    if any(instance.state not in {None, "scheduled"} for instance in left):
        return []
    return sorted(left, key=lambda instance: (instance.state is None, instance.task_id, instance.map_index))


def first_to_start(instances: Sequence[TaskInstance], tasks: Iterable[Task]) -> list[TaskInstance]:
    """Return those of `not_started` that wait for no upstream task, one per task.

    Args:
        instances: all task instances of a run.
        tasks: all tasks of its dag.
    """
    left = not_started(instances)
    unfinished = {instance.task_id for instance in left}
    behind = {later for task in tasks if task.task_id in unfinished for later in task.downstream_task_ids}
    first: dict[str, TaskInstance] = {}
    for instance in left:
        if instance.task_id not in behind:
            first.setdefault(instance.task_id, instance)
    return list(first.values())


def is_lost(instances: Iterable[TaskInstance], vital: Collection[str]) -> bool:
    """Say whether one of the vital tasks has failed for good, or can no longer start."""
    return any(instance.task_id in vital and instance.state in LOST for instance in instances)


def are_ready(instances: Iterable[TaskInstance], task_ids: Collection[str]) -> bool:
    """Say whether each of these tasks has ended without failing.

    A mapped task that is not expanded yet has one instance, which has not ended.
    """
    states: dict[str, set[str | None]] = {task_id: set() for task_id in task_ids}
    for instance in instances:
        if instance.task_id in states:
            states[instance.task_id].add(instance.state)
    return bool(states) and all(found and found <= FINISHED - LOST for found in states.values())


def usual_seconds(durations: Sequence[float]) -> float | None:
    """Return the usual duration of a run, from past durations; None if these are too few."""
    return median(durations) if len(durations) >= FEWEST_PAST_RUNS else None


def _doing(instances: Sequence[TaskInstance]) -> str:
    parts = []
    for states, words in (
        ({"running", "restarting"}, "running: {}"),
        ({"awaiting_input"}, "waiting for a person: {}"),
        ({"deferred", "up_for_reschedule"}, "waiting for an external event: {}"),
        ({"up_for_retry"}, "failed, will be retried: {}"),
    ):
        if names := [instance.name for instance in instances if instance.state in states]:
            parts.append(words.format(_listed(names)))
    if held := [instance for instance in instances if instance.state in {"scheduled", "queued"}]:
        parts.append(_held_back(held))
    return "; ".join(parts)


def _held_back(held: Sequence[TaskInstance]) -> str:
    """Say what runnable tasks wait for: a worker, or the scheduler, which needs a free slot in the pool."""
    first = min(held, key=lambda instance: (instance.ready_at is None, instance.ready_at))
    waits_for = "a worker" if first.state == "queued" else f"the scheduler (pool {first.pool})"
    since = f" since {first.ready_at:%H:%M:%S} UTC" if first.ready_at else ""
    return f"waiting for {waits_for}{since}: {_listed([instance.name for instance in held])}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MAX_NAMES])
    return shown if len(names) <= MAX_NAMES else f"{shown} and {len(names) - MAX_NAMES} more"
