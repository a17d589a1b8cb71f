"""The `return_value` XComs of a run: all in one request from Airflow 3.3 on, one by one below."""

import json
from typing import Any

from dagcall.airflow.gate import Purpose
from dagcall.airflow.http import Query
from dagcall.airflow.model import RunState
from dagcall.airflow.paging import all_pages, run_path, task_path
from dagcall.airflow.rest import AirflowRest
from dagcall.errors import AirflowNotFound, AirflowUnreachable
from dagcall.plain_json import Json


async def fetch_results(
    rest: AirflowRest, dag_id: str, run_id: str, task_ids: tuple[str, ...] | None
) -> dict[str, Json]:
    """Return the stored `return_value` XComs of a finished run, for Airflow 3.3 or newer.

    Args:
        rest: sends requests.
        dag_id: the run's dag.
        run_id: the run, which has ended: `/wait` then answers immediately.
        task_ids: the tasks; None for the dag's declared result.

    Returns:
        `{task_id: value}`; for a mapped task, the list of stored values. Tasks without a value are missing, so an
        empty answer may also mean that the dag declares no result.
    """
    path = f"{run_path(dag_id, run_id)}/wait"
    query: Query = {"interval": 1} if task_ids is None else {"interval": 1, "result": task_ids}
    state, results = await rest.get(
        path, purpose=Purpose.RESULT, query=query, decode=_last_line, read=_state_and_results
    )
    if not state.is_final:
        raise AirflowUnreachable(
            f"Airflow did not return the results of run {run_id} of {dag_id}; the run has ended, and calling "
            "again returns them",
            is_effect_possible=False,
        )
    return results


async def fetch_xcom(rest: AirflowRest, dag_id: str, run_id: str, task_id: str, map_index: int) -> Json:
    """Return one `return_value` XCom as stored; None if there is none. For any version."""
    path = f"{task_path(dag_id, run_id, task_id)}/xcomEntries/return_value"
    try:
        value: Json = await rest.get(
            path, purpose=Purpose.RESULT, query={"map_index": map_index}, read=lambda data: data["value"]
        )
    except AirflowNotFound:
        return None
    return value


async def fetch_stored_map_indexes(rest: AirflowRest, dag_id: str, run_id: str, task_id: str) -> list[int]:
    """Return the map indexes of a task that have a stored `return_value`, in order."""
    path = f"{task_path(dag_id, run_id, task_id)}/xcomEntries"
    indexes = await all_pages(
        rest, path, {"xcom_key": "return_value"}, "xcom_entries", lambda data: int(data["map_index"])
    )
    return sorted(indexes)


def _last_line(text: str) -> Any:
    """Return the last line of JSON; Unicode's other line ends do not separate lines."""
    return json.loads([line for line in text.split("\n") if line.strip()][-1])


def _state_and_results(line: Any) -> tuple[RunState, dict[str, Json]]:
    return RunState(line["state"]), dict(line.get("results") or {})
