"""The rights that dagcall's account needs in Airflow, as one table.

Pure.
"""

from dataclasses import dataclass

from dagcall.airflow import (
    CHANGE_RUNS,
    LIST_DAGS,
    READ_DAG,
    READ_LOGS,
    READ_QUESTIONS,
    READ_RUNS,
    READ_TASK_INSTANCES,
    READ_TASKS,
    READ_VERSIONS,
    READ_XCOMS,
    START_RUNS,
    Permission,
    Right,
)
from dagcall.doctor.finding import Finding, failure, ok, skipped, warning


@dataclass(frozen=True, slots=True)
class Need:
    """A right, and what is missing without it."""

    name: str
    permission: Permission
    without: str
    """What happens without it, as a clause."""
    in_fab: str
    """The permissions of FAB's auth manager, with `{dag}` for the dag's id."""
    is_essential: bool = True


LISTING = Need("list dags", LIST_DAGS, "entries with dags or tag select nothing", "can_read on DAG:{dag}")
NEEDS = (
    Need("read dag", READ_DAG, "the dag is not published", "can_read on DAG:{dag}"),
    Need("read tasks", READ_TASKS, "results cannot be chosen", "can_read on DAG:{dag} and Task Instances"),
    Need("start runs", START_RUNS, "every call is refused", "can_edit on DAG:{dag}, and can_create on DAG Runs"),
    Need("read runs", READ_RUNS, "no call learns how its run ended", "can_read on DAG Runs"),
    Need(
        "change runs",
        CHANGE_RUNS,
        "runs cannot be cancelled, and answers not marked as delivered",
        "can_edit on DAG:{dag} and DAG Runs",
        is_essential=False,
    ),
    Need(
        "read task instances",
        READ_TASK_INSTANCES,
        "no progress and no reason of a failure",
        "can_read on Task Instances",
    ),
    Need("read XComs", READ_XCOMS, "calls get no results", "can_read on XComs"),
    Need("read logs", READ_LOGS, "reports of failures have no log", "can_read on Task Logs", is_essential=False),
    Need(
        "read questions",
        READ_QUESTIONS,
        "runs that ask a person wait unnoticed",
        "can_read and can_edit on HITL Detail",
        is_essential=False,
    ),
    Need(
        "read dag versions",
        READ_VERSIONS,
        "with more than 50 dags, changes of dags are noticed late",
        "can_read on DAG Versions",
        is_essential=False,
    ),
)
"""In the order in which a call needs them, after `LISTING`."""


@dataclass(frozen=True, slots=True)
class RightFacts:
    """Whether the account has a right on a dag."""

    need: Need
    dag_id: str
    right: Right


def judge_right(facts: RightFacts) -> Finding:
    """Judge a right."""
    need, dag_id = facts.need, facts.dag_id
    on = f" on {dag_id}" if dag_id else ""
    match facts.right:
        case Right.GRANTED:
            return ok(f"granted{on}")
        case Right.UNKNOWN:
            return skipped("cannot be told with this Airflow without doing it", "Try a call: dagcall call TOOL")
        case Right.REFUSED:
            found = f"not granted{on}: {need.without}"
            advice = f"Grant it to dagcall's account (with FAB: {need.in_fab.format(dag=dag_id or '<dag id>')})"
            return failure(found, advice) if need.is_essential else warning(found, advice)
