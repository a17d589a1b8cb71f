"""Reads all pages of Airflow's lists, and builds paths.

Airflow silently cuts a page limit above 100 to 100, except in the batch endpoints (`…/list`).
"""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote

from dagcall.airflow.gate import Purpose
from dagcall.airflow.http import Query
from dagcall.airflow.rest import READ_ATTEMPTS, AirflowRest

PAGE = 100
BATCH_PAGE = 1000
RUN_LIST = "dags/~/dagRuns/list"
TASK_INSTANCE_LIST = "dags/~/dagRuns/~/taskInstances/list"

_T = TypeVar("_T")


@lru_cache(maxsize=1024)
def segment(name: str) -> str:
    """Return a name quoted as one path segment."""
    return quote(name, safe="")


def dag_path(dag_id: str) -> str:
    """Return the path of a dag."""
    return f"dags/{segment(dag_id)}"


def run_path(dag_id: str, run_id: str) -> str:
    """Return the path of a run."""
    return f"{dag_path(dag_id)}/dagRuns/{segment(run_id)}"


def task_path(dag_id: str, run_id: str, task_id: str) -> str:
    """Return the path of a run's instances of a task."""
    return f"{run_path(dag_id, run_id)}/taskInstances/{segment(task_id)}"


async def all_pages(
    rest: AirflowRest,
    path: str,
    query: Query,
    key: str,
    parse: Callable[[Any], _T],
    *,
    purpose: Purpose = Purpose.RESULT,
) -> tuple[_T, ...]:
    """Return all items of a list.

    Args:
        rest: sends requests.
        path: the list.
        query: the query, e.g. the order; limit and offset are added.
        key: the key of the items in an answer.
        parse: parses an item.
        purpose: the purpose of the request.
    """
    found: list[_T] = []
    while True:
        paged: Query = {**query, "limit": PAGE, "offset": len(found)}
        page, total = await rest.get(
            path,
            purpose=purpose,
            query=paged,
            read=lambda data: ([parse(item) for item in data[key]], int(data["total_entries"])),
        )
        found += page
        if not page or len(found) >= total:
            return tuple(found)


async def all_batches(
    rest: AirflowRest,
    path: str,
    body: Mapping[str, Any],
    key: str,
    parse: Callable[[Any], _T],
    *,
    decode: Callable[[str], Any] = json.loads,
    attempts: int = READ_ATTEMPTS,
    purpose: Purpose = Purpose.RESULT,
) -> tuple[_T, ...]:
    """Return all items of a batch endpoint, whose `page_limit` no version cuts to 100 (measured with 1,000)."""
    found: list[_T] = []
    while True:
        paged = {**body, "page_limit": BATCH_PAGE, "page_offset": len(found)}
        page = await rest.ask(
            path,
            purpose=purpose,
            body=paged,
            decode=decode,
            read=lambda data: [parse(item) for item in data[key]],
            attempts=attempts,
        )
        found += page
        if len(page) < BATCH_PAGE:
            return tuple(found)
