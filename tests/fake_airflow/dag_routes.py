"""Routes for Airflow itself and for dags."""

from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import httpx

from tests.fake_airflow import bodies, questions
from tests.fake_airflow.dags import PARSED_AT, FakeDag
from tests.fake_airflow.questions import read_body, read_query
from tests.fake_airflow.routing import Answer, in_order, is_like, known_dag, reader, route, writer
from tests.fake_airflow.wire import Refusal

if TYPE_CHECKING:
    from tests.fake_airflow.server import FakeAirflow


@route("version", "GET", "/api/v2/version")
def _version(airflow: "FakeAirflow", _request: httpx.Request) -> Answer:
    return 200, {"version": airflow.version, "git_version": ".release:0000000000000000000000000000000000000000"}


@route("config", "GET", "/api/v2/config/section/{section}/option/{option}")
def _config(airflow: "FakeAirflow", request: httpx.Request, *, section: str, option: str) -> Answer:
    reader(airflow, request)
    if airflow.config is None:
        detail = "Your Airflow administrator chose not to expose the configuration, most likely for security reasons."
        raise Refusal(403, detail)
    if (section, option) not in airflow.config:
        raise Refusal(404, f"Option [{section}/{option}] not found.")
    options = [{"key": option, "value": airflow.config[section, option]}]
    return 200, {"sections": [{"name": section, "options": options}]}


@route("health", "GET", "/api/v2/monitor/health")
def _health(airflow: "FakeAirflow", _request: httpx.Request) -> Answer:
    now = airflow.clock.now()
    health: dict[str, Any] = {"metadatabase": {"status": "healthy"}}
    for name in ("scheduler", "triggerer", "dag_processor"):
        since = airflow.silent_since.get(name)
        beat = bodies.timestamp(since or now)
        health[name] = {"status": "unhealthy" if since else "healthy", f"latest_{name}_heartbeat": beat}
    if airflow.is_scheduler_silent:
        health["scheduler"] = {"status": "unhealthy", "latest_scheduler_heartbeat": None}
    return 200, health


@route("auth_manager", "GET", "/auth/openapi.json")
def _auth_manager(airflow: "FakeAirflow", _request: httpx.Request) -> Answer:
    return 200, {"openapi": "3.1.0", "info": {"title": airflow.auth_manager, "version": "0.1.0"}}


@route("log_in", "POST", "/auth/token")
def _log_in(airflow: "FakeAirflow", request: httpx.Request) -> Answer:
    return 201, {"access_token": airflow.access.log_in(request)}


@route("log_in_anonymously", "GET", "/auth/token")
def _log_in_anonymously(airflow: "FakeAirflow", _request: httpx.Request) -> Answer:
    return 201, {"access_token": airflow.access.log_in_anonymously()}


@route("dags", "GET", "/api/v2/dags")
def _dags(airflow: "FakeAirflow", request: httpx.Request) -> Answer:
    user = reader(airflow, request)
    query = read_query(questions.DagsQuery, request)
    found = [dag for dag in airflow.dags.values() if user.may_read(dag.dag_id) and _is_asked_for(dag, query, airflow)]
    sort_keys = {"dag_id": lambda dag: dag.dag_id, "dag_display_name": lambda dag: dag.display_name or dag.dag_id}
    found = in_order(found, query.order_by or ["dag_id"], sort_keys)
    page = found[query.offset :][: query.page_limit]
    airflow.show(*page)
    return 200, {"dags": [bodies.dag_body(dag, airflow.version) for dag in page], "total_entries": len(found)}


def _is_asked_for(dag: FakeDag, query: questions.DagsQuery, airflow: "FakeAirflow") -> bool:
    tags = set(query.tags)
    has_tags = tags <= set(dag.tags) if query.tags_match_mode == "all" else bool(tags & set(dag.tags))
    return (
        (not tags or has_tags)
        and not (query.exclude_stale and dag.is_stale)
        and query.paused in {None, dag.is_paused}
        and query.has_import_errors in {None, dag.has_import_errors}
        and is_like(dag.dag_id, query.dag_id_pattern, airflow.version)
    )


@route("dag", "GET", "/api/v2/dags/{dag_id}")
def _get_dag(airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str) -> Answer:
    reader(airflow, request, dag_id)
    dag = known_dag(airflow, dag_id)
    airflow.show(dag)
    return 200, bodies.dag_body(dag, airflow.version)


@route("dag_versions", "GET", "/api/v2/dags/~/dagVersions")
def _dag_versions(airflow: "FakeAirflow", request: httpx.Request) -> Answer:
    user = reader(airflow, request)
    if not user.may_read_versions:
        raise Refusal(403, "Forbidden")
    query = read_query(questions.PageQuery, request)
    found = [
        bodies.dag_version_body(dag, number)
        for dag in airflow.dags.values()
        if user.may_read(dag.dag_id)
        for number in range(1, dag.version_number + 1)
    ]
    sort_keys: dict[str, Callable[[dict[str, Any]], Any]] = {
        key: itemgetter(key) for key in ("id", "version_number", "bundle_name", "bundle_version")
    }
    found = in_order(found, query.order_by or ["id"], sort_keys)
    return 200, {"dag_versions": found[query.offset :][: query.page_limit], "total_entries": len(found)}


@route("patch_dag", "PATCH", "/api/v2/dags/{dag_id}")
def _patch_dag(airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str) -> Answer:
    writer(airflow, request, dag_id)
    body = read_body(questions.PatchDagBody, request)
    dag = known_dag(airflow, dag_id)
    dag.is_paused = body.is_paused
    return 200, bodies.dag_body(dag, airflow.version)


@route("dag_details", "GET", "/api/v2/dags/{dag_id}/details")
def _dag_details(airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str) -> Answer:
    reader(airflow, request, dag_id)
    dag = known_dag(airflow, dag_id)
    active_states = {"running"} if airflow.version >= "3.3" else {"queued", "running"}
    active = sum(run.dag is dag and run.state in active_states for run in airflow.runs)
    return 200, bodies.dag_details_body(dag, active, airflow.version)


@route("tasks", "GET", "/api/v2/dags/{dag_id}/tasks")
def _tasks(airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str) -> Answer:
    reader(airflow, request, dag_id)
    dag = known_dag(airflow, dag_id)
    order_by = request.url.params.get("order_by", "task_id")
    tasks = in_order(dag.tasks, [order_by], {"task_id": lambda task: task.task_id})
    return 200, {
        "tasks": [bodies.task_body(dag, task, airflow.version) for task in tasks],
        "total_entries": len(tasks),
    }


@route("import_errors", "GET", "/api/v2/importErrors")
def _import_errors(airflow: "FakeAirflow", request: httpx.Request) -> Answer:
    reader(airflow, request)
    query = read_query(questions.PageQuery, request)
    found = [
        {
            "import_error_id": number,
            "timestamp": bodies.timestamp(PARSED_AT),
            "filename": error.filename,
            "bundle_name": bodies.BUNDLE,
            "stack_trace": error.stack_trace,
        }
        for number, error in enumerate(airflow.import_errors, 1)
    ]
    return 200, {"import_errors": found[query.offset :][: query.page_limit], "total_entries": len(found)}
