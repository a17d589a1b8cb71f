"""Which rights an account has on a dag, asked with requests that can neither start nor change anything.

Airflow checks an account's rights before anything else, so a request about something that does not exist, or one whose
body is invalid, tells whether the right is there: 403 without it, 404 or 422 with it (read in 3.1.8, 3.2.2 and 3.3.2,
and compared with them in tests/contract).

* Starting runs is told by `POST backfills/dry_run`, which requires the same right as a trigger. It never starts
  anything, writes nothing to Airflow's audit log (a trigger does, even an invalid one), and gets an incomplete body.
* Changing runs is told by `POST …/clear` of a run that does not exist, as a dry run, with an invalid body.
* Answering questions to people cannot be told: each request that needs this right is written to the audit log.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from dagcall.airflow.gate import Purpose
from dagcall.airflow.http import Query
from dagcall.airflow.paging import RUN_LIST, TASK_INSTANCE_LIST, dag_path, run_path, task_path
from dagcall.airflow.rest import AirflowRest
from dagcall.errors import AirflowError, AirflowLogInRefused, AirflowNotFound, AirflowRefused, AirflowRejected

NO_RUN, NO_TASK = "dagcall_doctor", "dagcall_doctor"
"""A run and a task that do not exist."""


class Right(Enum):
    """What an answer tells about a right."""

    GRANTED = "granted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Permission:
    """One right on a dag, and the request that tells whether an account has it."""

    path: Callable[[str], str]
    """Dag id -> path."""
    body: Callable[[str], Mapping[str, Any]] | None = None
    """Dag id -> the body of a POST; None for a GET."""
    query: Query | None = None
    proofs: tuple[type[AirflowError], ...] = ()
    """Errors that come only after Airflow has checked the right; a success proves it, too."""
    since: tuple[int, ...] = ()
    """The first version of Airflow whose answer tells it."""


LIST_DAGS = Permission(lambda _: "dags", query={"limit": 1, "exclude_stale": True})
READ_DAG = Permission(lambda dag: f"{dag_path(dag)}/details")
READ_TASKS = Permission(lambda dag: f"{dag_path(dag)}/tasks")
START_RUNS = Permission(
    lambda _: "backfills/dry_run",
    lambda dag: {"dag_id": dag},
    proofs=(AirflowRejected,),
    since=(3, 1, 8),  # before, the request also needed the right to make backfills, and asked about no single dag
)
READ_RUNS = Permission(lambda _: RUN_LIST, lambda dag: {"dag_ids": [dag], "order_by": "-run_after", "page_limit": 1})
CHANGE_RUNS = Permission(
    lambda dag: f"{run_path(dag, NO_RUN)}/clear",
    lambda _: {"dry_run": True, "only_failed": "asks for the right only"},
    proofs=(AirflowRejected,),
)
READ_TASK_INSTANCES = Permission(
    lambda _: TASK_INSTANCE_LIST,
    lambda dag: {"dag_ids": [dag], "dag_run_ids": [NO_RUN], "page_limit": 1},
    proofs=(AirflowNotFound,),
)
READ_XCOMS = Permission(
    lambda dag: f"{task_path(dag, NO_RUN, NO_TASK)}/xcomEntries/return_value", proofs=(AirflowNotFound,)
)
READ_LOGS = Permission(lambda dag: f"{task_path(dag, NO_RUN, NO_TASK)}/logs/1", proofs=(AirflowNotFound,))
READ_QUESTIONS = Permission(
    lambda dag: f"{run_path(dag, NO_RUN)}/hitlDetails", query={"limit": 1}, proofs=(AirflowNotFound,)
)
READ_VERSIONS = Permission(lambda _: "dags/~/dagVersions", query={"limit": 1})


async def fetch_right(rest: AirflowRest, permission: Permission, dag_id: str, version: tuple[int, ...]) -> Right:
    """Ask whether an account has a right on a dag, with one request and no retries.

    Raises:
        AirflowLogInRefused: the account cannot log in.
        AirflowError: another answer that tells nothing about rights.
    """
    if version < permission.since:
        return Right.UNKNOWN
    asked: dict[str, Any] = {"purpose": Purpose.RESULT, "read": lambda data: data, "attempts": 1}
    path = permission.path(dag_id)
    try:
        if permission.body is None:
            await rest.get(path, query=permission.query, **asked)
        else:
            await rest.ask(path, body=permission.body(dag_id), **asked)
    except AirflowLogInRefused:
        raise
    except AirflowRefused:
        return Right.REFUSED
    except permission.proofs:
        return Right.GRANTED
    except (AirflowNotFound, AirflowRejected):
        return Right.UNKNOWN
    return Right.GRANTED
