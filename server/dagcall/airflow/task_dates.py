"""Start and end dates of tasks: why a run has no instance of a task.

Pure. Airflow creates no instance of a task whose dates exclude the run's logical date, and reports the run as a success
all the same (3.1 to 3.3). A run without a logical date has all instances. A task without its own dates has the dag's.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from dagcall.airflow.model import Task, leaf_task_ids

MAX_NAMES = 3


def left_out_because(task: Task, logical_date: datetime | None) -> str:
    """Return why a run with this logical date has no instance of a task, as a clause; empty if it has one."""
    if logical_date is None:
        return ""
    if task.start_date is not None and logical_date < task.start_date:
        return f"its start_date is {task.start_date.isoformat()}"
    if task.end_date is not None and logical_date > task.end_date:
        return f"its end_date was {task.end_date.isoformat()}"
    return ""


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
    reasons = {task.task_id: left_out_because(task, logical_date) for task in tasks}
    deciding = result_task_ids or leaf_task_ids(tuple(tasks)) or reasons
    left_out = {task_id: reason for task_id in deciding if (reason := reasons.get(task_id))}
    if not left_out or (not result_task_ids and len(left_out) < len(deciding)):
        return None
    named = [f"task {task_id!r}: {reason}" for task_id, reason in list(left_out.items())[:MAX_NAMES]]
    more = f"; and {len(left_out) - MAX_NAMES} more" if len(left_out) > MAX_NAMES else ""
    return (
        f"its runs would leave out what makes the result ({'; '.join(named)}{more}). Change the dates in the dag, or "
        'set logical_date = "none" in its [[tools]] entry: Airflow then ignores them'
    )
