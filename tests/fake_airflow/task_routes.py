"""Routes for task instances: their states, XComs and logs."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import httpx

from tests.fake_airflow import bodies, questions
from tests.fake_airflow.questions import read_body, read_query
from tests.fake_airflow.routing import Answer, reader, require_tilde, route
from tests.fake_airflow.runs import FakeRun, FakeTaskInstance
from tests.fake_airflow.wire import Refusal

if TYPE_CHECKING:
    from tests.fake_airflow.server import FakeAirflow


_NO_MORE: dict[str, Any] = {"continuation_token": None}
_RUN = "/api/v2/dags/{dag_id}/dagRuns/{run_id}"
_INSTANCE = _RUN + "/taskInstances/{task_id}"


def _task_instances_body(
    airflow: "FakeAirflow", found: list[tuple[FakeRun, FakeTaskInstance]], offset: int, limit: int
) -> dict[str, Any]:
    ordered = sorted(found, key=lambda pair: pair[1].map_index)
    page = [bodies.task_instance_body(run, instance) for run, instance in ordered[offset:][:limit]]
    return {"task_instances": page, "total_entries": len(found)} | bodies.cursors(airflow.version)


@route("task_instances", "GET", _RUN + "/taskInstances")
def _task_instances(airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str, run_id: str) -> Answer:
    user = reader(airflow, request, dag_id)
    query = read_query(questions.TaskInstancesQuery, request)
    questions.check_states(query.state, questions.task_states(airflow.version), none_is="none")
    runs = [
        r for r in airflow.runs if dag_id in {"~", r.dag_id} and run_id in {"~", r.run_id} and user.may_read(r.dag_id)
    ]
    if run_id != "~" and not runs:
        of_dag = "" if airflow.version < "3.2" else f"dag_id: `{dag_id}` and "
        raise Refusal(404, f"DagRun with {of_dag}run_id: `{run_id}` was not found")
    found = [
        (run, instance)
        for run in runs
        for instance in run.task_instances
        if (not query.state or (instance.state or "none") in query.state) and query.task_id in {None, instance.task_id}
    ]
    return 200, _task_instances_body(airflow, found, query.offset, query.page_limit)


@route("list_task_instances", "POST", _RUN + "/taskInstances/list")
def _list_task_instances(airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str, run_id: str) -> Answer:
    user = reader(airflow, request, dag_id)
    require_tilde("dag_id", dag_id)
    require_tilde("dag_run_id", run_id)
    body = read_body(questions.TaskInstancesBody, request)
    _check_enum(body.state or (), questions.task_states(airflow.version))
    found = [
        (run, instance)
        for run in airflow.runs
        if user.may_read(run.dag_id)
        and (not body.dag_ids or run.dag_id in body.dag_ids)
        and (not body.dag_run_ids or run.run_id in body.dag_run_ids)
        for instance in run.task_instances
        if (not body.task_ids or instance.task_id in body.task_ids) and (not body.state or instance.state in body.state)
    ]
    return 200, _task_instances_body(airflow, found, body.page_offset, body.page_limit)


@route("dependencies", "GET", _INSTANCE + "/dependencies")
def _dependencies(
    airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str, run_id: str, task_id: str, map_index: str = "-1"
) -> Answer:
    reader(airflow, request, dag_id)
    run = airflow.find_run(dag_id, run_id)
    instances = [] if run is None else [i for i in run.instances_of(task_id) if str(i.map_index) == map_index]
    if run is None or not instances:
        where = f"dag_id: `{dag_id}`, run_id: `{run_id}`, task_id: `{task_id}` and map_index: `{map_index}`"
        raise Refusal(404, [f"The Task Instance with {where} was not found"])
    before = [
        other
        for other in airflow.runs
        if other.dag is run.dag and run.logical_date and other.logical_date and other.logical_date < run.logical_date
    ]
    latest = max(before, key=lambda other: other.logical_date or other.run_after, default=None)
    return 200, {"dependencies": bodies.dependency_bodies(run, instances[0], latest)}


@route("dependencies", "GET", _INSTANCE + "/{map_index}/dependencies")
def _dependencies_of_mapped(
    airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str, run_id: str, task_id: str, map_index: str
) -> Answer:
    return _dependencies(airflow, request, dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)


def _check_enum(states: Sequence[str | None], known: Sequence[str]) -> None:
    expected = ", ".join(f"'{state}'" for state in known[:-1]) + f" or '{known[-1]}'"
    bad = [
        {
            "type": "enum",
            "loc": ["body", "state", index],
            "msg": f"Input should be {expected}",
            "input": state,
            "ctx": {"expected": expected},
        }
        for index, state in enumerate(states)
        if state is not None and state not in known
    ]
    if bad:
        raise Refusal(422, bad)


@route("xcoms", "GET", _INSTANCE + "/xcomEntries")
def _xcoms(airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str, run_id: str, task_id: str) -> Answer:
    user = reader(airflow, request, dag_id)
    query = read_query(questions.XComsQuery, request)
    found = [
        (run, xcom)
        for run in airflow.runs
        if dag_id in {"~", run.dag_id} and run_id in {"~", run.run_id} and user.may_read(run.dag_id)
        for xcom in run.xcoms
        if task_id in {"~", xcom.task.task_id}
        and query.xcom_key in {None, xcom.key}
        and query.map_index in {None, xcom.map_index}
    ]
    found.sort(key=lambda pair: (pair[0].dag_id, pair[1].task.task_id, pair[0].run_id, pair[1].map_index, pair[1].key))
    page = found[query.offset :][: query.page_limit]
    return 200, {"xcom_entries": [bodies.xcom_body(run, xcom) for run, xcom in page], "total_entries": len(found)}


@route("xcom", "GET", _INSTANCE + "/xcomEntries/{key}")
def _xcom(
    airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str, run_id: str, task_id: str, key: str
) -> Answer:
    reader(airflow, request, dag_id)
    map_index = read_query(questions.XComQuery, request).map_index
    run = airflow.find_run(dag_id, run_id)
    if run is not None:
        for xcom in run.xcoms:
            if (xcom.task.task_id, xcom.key, xcom.map_index) == (task_id, key, map_index):
                return 200, bodies.xcom_body(run, xcom) | {"value": _without_nan(xcom.value)}
    raise Refusal(404, f"XCom entry with key: `{key}` not found")


def _without_nan(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {name: _without_nan(item) for name, item in value.items()}
        case list():
            return [_without_nan(item) for item in value]
        case _:
            return value


@route("log", "GET", _INSTANCE + "/logs/{try_number}")
def _log(
    airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str, run_id: str, task_id: str, try_number: str
) -> Answer:
    reader(airflow, request, dag_id)
    accept = request.headers.get("accept", "*/*")
    if not any(kind in accept for kind in ("*/*", "application/json", "application/x-ndjson")):
        raise Refusal(406, "Only application/json or application/x-ndjson is supported")
    map_index = read_query(questions.LogQuery, request).map_index
    if not try_number.isdecimal():
        message = "Input should be a valid integer, unable to parse string as an integer"
        raise Refusal(
            422, [{"type": "int_parsing", "loc": ["path", "try_number"], "msg": message, "input": try_number}]
        )
    run = airflow.find_run(dag_id, run_id)
    instances = [] if run is None else [i for i in run.instances_of(task_id) if i.map_index == map_index]
    if run is None or not instances or int(try_number) not in {instances[0].try_number, *instances[0].logs}:
        raise Refusal(404, "TaskInstance not found")
    return 200, {"content": bodies.log_content(run, instances[0], int(try_number), airflow.version), **_NO_MORE}
