"""Routes for tasks that wait for a person, and for answers to their questions."""

from typing import TYPE_CHECKING, Any

import httpx

from tests.fake_airflow import bodies, questions
from tests.fake_airflow.questions import read_body, read_query
from tests.fake_airflow.routing import Answer, in_order, reader, route, writer
from tests.fake_airflow.runs import FakeAsking, FakeResponse, FakeRun, FakeTaskInstance
from tests.fake_airflow.wire import Refusal

if TYPE_CHECKING:
    from tests.fake_airflow.server import FakeAirflow

_RUN = "/api/v2/dags/{dag_id}/dagRuns/{run_id}"
_DETAIL = _RUN + "/taskInstances/{task_id}/{map_index}/hitlDetails"

Found = tuple[FakeRun, FakeTaskInstance, FakeAsking]


@route("hitl_details", "GET", _RUN + "/hitlDetails")
def _hitl_details(airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str, run_id: str) -> Answer:
    user = reader(airflow, request, dag_id)
    query = read_query(questions.HitlDetailsQuery, request)
    questions.check_states(query.state, questions.task_states(airflow.version), none_is="none")
    found: list[Found] = [
        (run, instance, instance.asking)
        for run in airflow.runs
        if dag_id in {"~", run.dag_id} and run_id in {"~", run.run_id} and user.may_read(run.dag_id)
        for instance in run.task_instances
        if instance.asking is not None
        and (not query.state or instance.state in query.state)
        and query.task_id in {None, instance.task_id}
        and query.map_index in {None, instance.map_index}
        and query.response_received in {None, instance.asking.response is not None}
    ]
    found = in_order(found, query.order_by, {"created_at": lambda item: item[2].at})
    page = [bodies.hitl_body(*item) for item in found[query.offset :][: query.page_limit]]
    return 200, {"hitl_details": page, "total_entries": len(found)}


@route("hitl_detail", "GET", _DETAIL)
def _hitl_detail(airflow: "FakeAirflow", request: httpx.Request, **where: str) -> Answer:
    reader(airflow, request, where["dag_id"])
    return 200, bodies.hitl_body(*_found(airflow, **where))


@route("respond", "PATCH", _DETAIL)
def _respond(airflow: "FakeAirflow", request: httpx.Request, **where: str) -> Answer:
    user = writer(airflow, request, where["dag_id"])
    body = read_body(questions.ResponseBody, request)
    run, instance, asking = _found(airflow, **where)
    if asking.response is not None:
        detail = f"Human-in-the-loop detail has already been updated for Task Instance with id {instance.id}"
        raise Refusal(409, f"{detail} and is not allowed to write again.")
    question = asking.question
    if question.assigned_users and user.name not in question.assigned_users and not airflow.access.all_admins:
        raise Refusal(403, f"User={user.name} (id={user.name}) is not a respondent for the task.")
    if airflow.version >= "3.3":
        _check_options(body.chosen_options, question.options, is_multiple=question.multiple)
    now = airflow.clock.now()
    asking.response = FakeResponse(body.chosen_options, body.params_input, user.name, now)
    if airflow.version >= "3.3" and instance.state in {"deferred", "awaiting_input"}:
        instance.state = "scheduled"
    run.set_state(run.state, now)
    by = {"id": user.name, "name": user.name}
    return 200, {"responded_by": by, "responded_at": bodies.timestamp(now), **body.model_dump()}


def _check_options(chosen: list[str], options: Any, *, is_multiple: bool) -> None:
    if invalid := sorted(set(chosen) - set(options)):
        raise Refusal(400, f"Invalid options {invalid}; allowed options are {sorted(options)}.")
    if not is_multiple and len(chosen) > 1:
        raise Refusal(400, "Multiple options chosen but this Human-in-the-loop task accepts only a single option.")


def _found(airflow: "FakeAirflow", *, dag_id: str, run_id: str, task_id: str, map_index: str) -> Found:
    run = airflow.find_run(dag_id, run_id)
    for instance in run.instances_of(task_id) if run else ():
        if run is not None and instance.map_index == int(map_index):
            if instance.asking is None:
                raise Refusal(404, f"Human-in-the-loop detail does not exist for Task Instance with id {instance.id}")
            return run, instance, instance.asking
    raise Refusal(
        404,
        f"The Task Instance with dag_id: `{dag_id}`, run_id: `{run_id}`, task_id: `{task_id}` and map_index: "
        f"`{map_index}` was not found",
    )
