"""Routes for runs: trigger, read, wait, change."""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx

from tests.fake_airflow import bodies, questions
from tests.fake_airflow.dags import FakeDag
from tests.fake_airflow.questions import read_body, read_query
from tests.fake_airflow.routing import Answer, Lines, in_order, is_like, known_dag, reader, require_tilde, route, writer
from tests.fake_airflow.runs import FakeRun
from tests.fake_airflow.wire import Refusal

if TYPE_CHECKING:
    from tests.fake_airflow.server import FakeAirflow


def _run(airflow: "FakeAirflow", dag_id: str, run_id: str) -> FakeRun:
    run = airflow.find_run(dag_id, run_id)
    if run is None:
        raise Refusal(404, f"The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found")
    return run


@route("trigger", "POST", "/api/v2/dags/{dag_id}/dagRuns")
def _trigger(airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str) -> Answer:
    user = writer(airflow, request, dag_id)
    body = read_body(questions.TriggerBody if airflow.version < "3.2" else questions.TriggerBody32, request)
    dag = airflow.dags.get(dag_id)
    if dag is None or dag.is_stale:
        raise Refusal(404, f"{'DAG' if airflow.version < '3.2' else 'Dag'} with dag_id: '{dag_id}' not found")
    if dag.has_import_errors:
        noun = "DAG" if airflow.version < "3.2" else "Dag"
        raise Refusal(400, f"{noun} with dag_id: '{dag_id}' has import errors and cannot be triggered")
    if airflow.version >= "3.2" and dag.allowed_run_types is not None and "manual" not in dag.allowed_run_types:
        raise Refusal(400, f"Dag with dag_id: '{dag_id}' does not allow manual runs")
    now = airflow.clock.now()
    run_after = body.run_after or now
    run_id = body.dag_run_id or f"manual__{run_after.astimezone(UTC).isoformat()}"
    questions.check_run_id(run_id, airflow.version)
    conf = body.conf or {}
    questions.check_conf(dag, conf, airflow.version)
    _check_unique(airflow, dag, run_id, body.logical_date)
    run = FakeRun(
        dag=dag,
        run_id=run_id,
        conf=conf,
        logical_date=body.logical_date,
        data_interval=_data_interval(body),
        run_after=run_after,
        queued_at=airflow.clock.now(),
        waiting_state="deferred" if airflow.version < "3.3" else "awaiting_input",
        triggering_user_name=user.name,
        triggered_by="ui" if request.headers.get("referer") else "rest_api",
        note=body.note or None,
    )
    airflow.add_run(run)
    return 200, bodies.run_body(run, airflow.version)


def _data_interval(body: questions.TriggerBody) -> tuple[datetime, datetime] | None:
    if body.logical_date is None:
        return None
    return (body.data_interval_start or body.logical_date, body.data_interval_end or body.logical_date)


def _check_unique(airflow: "FakeAirflow", dag: FakeDag, run_id: str, logical_date: datetime | None) -> None:
    """Refuse (409) a second run with the same id or logical date; since 3.2 both errors look the same."""
    column = None if airflow.find_run(dag.dag_id, run_id) is None else "run_id"
    if logical_date is not None and airflow.has_run_at(dag.dag_id, logical_date):
        column = "logical_date"
    if column is None:
        return
    shown = airflow.version < "3.2"
    message = (
        "Serious error when handling your request. Check logs for more details - "
        f"you will find it in api server when you look for ID {uuid.uuid4().hex[:8]}"
    )
    raise Refusal(
        409,
        {
            "reason": "Unique constraint violation",
            "statement": "INSERT INTO dag_run (dag_id, …) VALUES (?, …)" if shown else "hidden",
            "orig_error": f"UNIQUE constraint failed: dag_run.dag_id, dag_run.{column}" if shown else "hidden",
            "message": message,
        },
    )


@route("run", "GET", "/api/v2/dags/{dag_id}/dagRuns/{run_id}")
def _get_run(airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str, run_id: str) -> Answer:
    reader(airflow, request, dag_id)
    return 200, bodies.run_body(airflow.look_at(_run(airflow, dag_id, run_id)), airflow.version)


@route("patch_run", "PATCH", "/api/v2/dags/{dag_id}/dagRuns/{run_id}")
def _patch_run(airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str, run_id: str) -> Answer:
    writer(airflow, request, dag_id)
    body = read_body(questions.PatchRunBody, request)
    run = _run(airflow, dag_id, run_id)
    mask = read_query(questions.PatchRunQuery, request).update_mask
    fields = body.model_fields_set & set(mask) if mask else body.model_fields_set
    now = airflow.clock.now()
    if "note" in fields:
        run.note = body.note or None
    if "state" in fields and body.state == "queued":
        airflow.requeue(run)
    elif "state" in fields and body.state is not None:
        pending = "success" if body.state == "success" and airflow.version < "3.3" else "skipped"
        run.end_by_hand(body.state.value, now, pending=pending)
    answer = bodies.run_body(run, airflow.version)
    if run.state == "failed" and airflow.runs_in_hand:
        airflow.runs_in_hand -= 1
        run.end("success", now)
    return 200, answer


@route("patch_runs", "PATCH", "/api/v2/dags/~/dagRuns")
def _patch_runs(airflow: "FakeAirflow", request: httpx.Request) -> Answer:
    if airflow.version < "3.3":
        raise Refusal(405, "Method Not Allowed")
    done: list[str] = []
    for update in read_body(questions.BulkRunsBody, request).actions:
        for entity in update.entities:
            dag_id = entity.dag_id or ""
            writer(airflow, request, dag_id)
            try:
                run = airflow.run(entity.dag_run_id, dag_id)
            except KeyError:
                continue
            run.note = entity.note
            done.append(f"{dag_id}.{run.run_id}")
    return 200, {"create": None, "update": {"success": done, "errors": []}, "delete": None}


@route("delete_run", "DELETE", "/api/v2/dags/{dag_id}/dagRuns/{run_id}")
def _delete_run(airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str, run_id: str) -> Answer:
    writer(airflow, request, dag_id)
    run = _run(airflow, dag_id, run_id)
    if run.state == "running":
        detail = f"The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` cannot be deleted in running state"
        raise Refusal(409, detail)
    airflow.delete(run)
    return 204, None


@route("clear_run", "POST", "/api/v2/dags/{dag_id}/dagRuns/{run_id}/clear")
def _clear_run(airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str, run_id: str) -> Answer:
    writer(airflow, request, dag_id)
    body = read_body(questions.ClearRunBody, request)
    run = _run(airflow, dag_id, run_id)
    if not body.dry_run:
        airflow.clear(run)
    return 200, {"task_instances": [], "total_entries": 0}


@route("backfill_dry_run", "POST", "/api/v2/backfills/dry_run")
def _backfill_dry_run(airflow: "FakeAirflow", request: httpx.Request) -> Answer:
    writer(airflow, request, json.loads(request.content)["dag_id"])
    read_body(questions.BackfillBody, request)
    return 200, {"backfills": [], "total_entries": 0}


@route("wait", "GET", "/api/v2/dags/{dag_id}/dagRuns/{run_id}/wait")
def _wait(airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str, run_id: str) -> Answer:
    reader(airflow, request, dag_id)
    query = read_query(questions.WaitQuery, request)
    return 200, Lines(_run(airflow, dag_id, run_id), query)


_EVER = datetime.max.replace(tzinfo=UTC)
_RUN_ORDER: dict[str, Callable[[FakeRun], Any]] = {
    "state": lambda run: run.state,
    "dag_id": lambda run: run.dag_id,
    "run_id": lambda run: run.run_id,
    "dag_run_id": lambda run: run.run_id,
    "logical_date": lambda run: run.logical_date,
    "run_after": lambda run: run.run_after,
    "start_date": lambda run: run.start_date,
    "end_date": lambda run: run.end_date,
    "updated_at": lambda run: run.updated_at,
}


def _runs_body(airflow: "FakeAirflow", runs: list[FakeRun], offset: int, limit: int) -> dict[str, Any]:
    page = [bodies.run_body(run, airflow.version) for run in runs[offset:][:limit]]
    return {"dag_runs": page, "total_entries": len(runs)} | bodies.cursors(airflow.version)


@route("list_runs", "POST", "/api/v2/dags/{dag_id}/dagRuns/list")
def _list_runs(airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str) -> Answer:
    user = reader(airflow, request, dag_id)
    require_tilde("dag_id", dag_id)
    body = read_body(questions.RunsBody, request)
    looked_at = [
        airflow.look_at(run)
        for run in airflow.runs
        if user.may_read(run.dag_id) and (not body.dag_ids or run.dag_id in body.dag_ids)
    ]
    found = [run for run in looked_at if (not body.states or run.state in body.states) and _is_between(run, body)]
    found = in_order(found, [body.order_by] if body.order_by else [], _RUN_ORDER)
    return 200, _runs_body(airflow, found, body.page_offset, body.page_limit)


@route("runs", "GET", "/api/v2/dags/{dag_id}/dagRuns")
def _runs(airflow: "FakeAirflow", request: httpx.Request, *, dag_id: str) -> Answer:
    user = reader(airflow, request, dag_id)
    query = read_query(questions.RunsQuery, request)
    if dag_id != "~":
        known_dag(airflow, dag_id)
    questions.check_states(query.state, list(questions.RunState))
    looked_at = [
        airflow.look_at(run) for run in airflow.runs if dag_id in {"~", run.dag_id} and user.may_read(run.dag_id)
    ]
    # The query treats a run without an end as ending now or later; the body of `list` excludes such a run.
    now = airflow.clock.now()
    null_to_bound = {"gte": now if airflow.version < "3.2" else _EVER, "lte": now}
    found = [run for run in looked_at if _matches(run, query, airflow) and _is_between(run, query, null_to_bound)]
    found = in_order(found, query.order_by, _RUN_ORDER)
    return 200, _runs_body(airflow, found, query.offset, query.page_limit)


def _matches(run: FakeRun, query: questions.RunsQuery, airflow: "FakeAirflow") -> bool:
    # Before 3.2 there is neither a prefix pattern nor a dag id pattern, and unknown query params are ignored.
    prefix = None if airflow.version < "3.2" else query.run_id_prefix_pattern
    return (
        (not query.state or run.state in query.state)
        and is_like(run.run_id, query.run_id_pattern, airflow.version)
        and (airflow.version < "3.2" or is_like(run.dag_id, query.dag_id_pattern, airflow.version))
        and is_like(run.triggering_user_name, query.triggering_user_name_pattern, airflow.version)
        and (prefix is None or _has_prefix(run.run_id, prefix))
    )


def _has_prefix(run_id: str, pattern: str) -> bool:
    """Match case-sensitively; punctuation at the end of the pattern is ignored."""
    prefixes = (re.sub(r"[^A-Za-z0-9]+$", "", part.strip()) for part in pattern.split("|"))
    return any(run_id.startswith(prefix) for prefix in prefixes)


def _is_between(
    run: FakeRun, bounds: questions.RunsBody | questions.RunsQuery, null_to_bound: Mapping[str, datetime] | None = None
) -> bool:
    """Return whether a run's dates are within the requested bounds.

    Args:
        run: the run.
        bounds: fields such as `end_date_gte`.
        null_to_bound: the value of a missing start or end date, for `gte` and for `lte`.
    """
    for name, bound in bounds:
        column, _, relation = name.rpartition("_")
        if bound is None or relation not in {"gte", "gt", "lte", "lt"}:
            continue
        limit = bound if bound.tzinfo else bound.replace(tzinfo=UTC)
        value = getattr(run, column)
        if value is None and null_to_bound is not None and column in {"start_date", "end_date"}:
            value = null_to_bound[relation]
        if value is None:
            return False
        holds = {"gte": value >= limit, "gt": value > limit, "lte": value <= limit, "lt": value < limit}
        if not holds[relation]:
            return False
    return True
