"""Start and end dates of tasks: why a run has no instance of a task.

Pure. Airflow creates no instance of a task whose dates exclude the run's logical date, and reports the run as a success
all the same (3.1 to 3.3). A run without a logical date has all instances. A task without its own dates has the dag's.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from dagcall.airflow.model import Task, leaf_task_ids

MAX_NAMES = 3


@dataclass(frozen=True, slots=True)
class ExcludingDate:
    """A date of a task that excludes a run."""

    name: Literal["start_date", "end_date"]
    date: datetime

    def __str__(self) -> str:
        return f"its {self.name} {'is' if self.name == 'start_date' else 'was'} {self.date.isoformat()}"


def excluding_date(task: Task, logical_date: datetime | None) -> ExcludingDate | None:
    """Return the date of a task because of which a run with this logical date has no instance of it."""
    if logical_date is None:
        return None
    if task.start_date is not None and logical_date < task.start_date:
        return ExcludingDate("start_date", task.start_date)
    if task.end_date is not None and logical_date > task.end_date:
        return ExcludingDate("end_date", task.end_date)
    return None


def reason_for_no_result(
    tasks: Sequence[Task], result_task_ids: Collection[str], logical_date: datetime | None
) -> str | None:
    """Return why runs of a dag would have no result, as a clause; None if they have one.

    Args:
        tasks: all tasks of the dag.
        result_task_ids: all result tasks; empty if any leaf of the dag is one.
        logical_date: the logical date of a run triggered now; None for a run without one.
    """
    if not tasks:
        return "it has no tasks"
    dates = {task.task_id: excluding_date(task, logical_date) for task in tasks}
    deciding = result_task_ids or leaf_task_ids(tuple(tasks)) or dates
    left_out = {task_id: date for task_id in deciding if (date := dates.get(task_id))}
    if not left_out or (not result_task_ids and len(left_out) < len(deciding)):
        return None
    named = [f"task {task_id!r}: {date}" for task_id, date in list(left_out.items())[:MAX_NAMES]]
    more = f"; and {len(left_out) - MAX_NAMES} more" if len(left_out) > MAX_NAMES else ""
    return (
        f"its runs would leave out what makes the result ({'; '.join(named)}{more}). Change the dates in the dag, or "
        'set logical_date = "none" in its [[tools]] entry: Airflow then ignores them'
    )
