"""Objects to JSON, with the keys of each Airflow version."""

import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from jsonschema import FormatChecker, ValidationError, validate

from tests.fake_airflow.dags import NOTSET, PARSED_AT, FakeDag, FakeParam, FakeTask, as_params
from tests.fake_airflow.questions import Version
from tests.fake_airflow.runs import FakeAsking, FakeRun, FakeTaskInstance, FakeXCom

BUNDLE = "dags-folder"


def timestamp(time: datetime | None) -> str | None:
    """Format a time as pydantic does: microseconds only if nonzero, `Z` for UTC."""
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def cursors(version: Version) -> dict[str, None]:
    """Return the additional keys of lists of runs and task instances."""
    if version < "3.2":
        return {}
    keys = ("next_cursor", "previous_cursor")
    return dict.fromkeys(keys if version < "3.3" else ("total_entries_limit", *keys))


def dag_body(dag: FakeDag, version: Version) -> dict[str, Any]:
    name = dag.display_name or dag.dag_id
    body: dict[str, Any] = {
        "dag_id": dag.dag_id,
        "dag_display_name": name,
        "is_paused": dag.is_paused,
        "is_stale": dag.is_stale,
        "last_parsed_time": timestamp(dag.parsed_at),
        "last_parse_duration": None,
        "last_expired": None,
        "bundle_name": BUNDLE,
        "bundle_version": None,
        "relative_fileloc": dag.relative_fileloc,
        "fileloc": f"/dags/{dag.relative_fileloc}",
        "description": dag.description,
        "timetable_summary": None,
        "timetable_description": "Never, external triggers only",
        "tags": [{"name": tag, "dag_id": dag.dag_id, "dag_display_name": name} for tag in sorted(dag.tags)],
        "max_active_tasks": 16,
        "max_active_runs": dag.max_active_runs,
        "max_consecutive_failed_dag_runs": 0,
        "has_task_concurrency_limits": False,
        "has_import_errors": dag.has_import_errors,
        "next_dagrun_logical_date": None,
        "next_dagrun_data_interval_start": None,
        "next_dagrun_data_interval_end": None,
        "next_dagrun_run_after": None,
        "owners": list(dag.owners),
        "file_token": "eyJidW5kbGVfbmFtZSI6Im",
    }
    if version >= "3.2":
        body |= {"timetable_partitioned": False, "allowed_run_types": dag.allowed_run_types}
    if version >= "3.3":
        body |= {"timetable_periodic": False, "is_backfillable": False}
    return body


def dag_details_body(dag: FakeDag, active_runs: int, version: Version) -> dict[str, Any]:
    body = dag_body(dag, version) | {
        "catchup": False,
        "dag_run_timeout": None,
        "asset_expression": None,
        "doc_md": dag.doc_md,
        "start_date": timestamp(dag.start_date),
        "end_date": timestamp(dag.end_date),
        "is_paused_upon_creation": dag.is_paused_upon_creation,
        "params": {name: _param_body(param, version) for name, param in as_params(dag.params).items()},
        "render_template_as_native_obj": False,
        "template_search_path": None,
        "timezone": "UTC",
        "last_parsed": timestamp(dag.parsed_at),
        "default_args": {},
        "owner_links": {},
        "is_favorite": False,
        "concurrency": 16,
        "latest_dag_version": dag_version_body(dag),
    }
    if version >= "3.2":
        body["active_runs_count"] = active_runs
    if version >= "3.3":
        body["rerun_with_latest_version"] = None
    return body


def _param_body(param: FakeParam, version: Version, source: str | None = None) -> dict[str, Any]:
    """Return a param: 3.1 shows its raw default, later versions null if the default is invalid."""
    value = None if param.default is NOTSET else param.default
    body = {"value": value, "schema": param.schema, "description": param.description}
    if version < "3.2":
        return body | {"__class": "airflow.sdk.definitions.param.Param"}
    try:
        validate(value, param.schema, format_checker=FormatChecker())
    except ValidationError:
        body["value"] = None
    return body | {"source": source}


def dag_version_body(dag: FakeDag, number: int | None = None) -> dict[str, Any]:
    """Return a version of a dag; the newest by default."""
    number = dag.version_number if number is None else number
    return {
        "id": str(dag.version_ids()[number - 1]),
        "version_number": number,
        "dag_id": dag.dag_id,
        "bundle_name": BUNDLE,
        "bundle_version": None,
        "created_at": timestamp(PARSED_AT),
        "dag_display_name": dag.display_name or dag.dag_id,
        "bundle_url": None,
    }


def task_body(dag: FakeDag, task: FakeTask, version: Version) -> dict[str, Any]:
    params = {name: _param_body(param, version, "dag") for name, param in as_params(dag.params).items()}
    params |= {name: _param_body(param, version, "task") for name, param in as_params(task.params).items()}
    return {
        "task_id": task.task_id,
        "task_display_name": task.task_id,
        "owner": dag.owners[0],
        "start_date": timestamp(dag.dates_of(task)[0]),
        "end_date": timestamp(dag.dates_of(task)[1]),
        "trigger_rule": task.trigger_rule,
        "depends_on_past": task.depends_on_past,
        "wait_for_downstream": False,
        "retries": float(task.retries),
        "queue": "default",
        "pool": task.pool,
        "pool_slots": 1.0,
        "execution_timeout": None,
        "retry_delay": {"__type": "TimeDelta", "days": 0, "seconds": 300, "microseconds": 0},
        "retry_exponential_backoff": 0.0 if version >= "3.2" else False,
        "priority_weight": 1.0,
        "weight_rule": "downstream",
        "ui_color": "#ffefeb",
        "ui_fgcolor": "#000",
        "template_fields": ["templates_dict", "op_args", "op_kwargs"],
        "downstream_task_ids": sorted(task.downstream),
        "doc_md": task.doc_md,
        "operator_name": "@task",
        "params": params,
        "class_ref": {
            "module_path": "airflow.providers.standard.decorators.python",
            "class_name": "_PythonDecoratedOperator",
        },
        "is_mapped": task.mapped is not False,
        "extra_links": [],
    }


def run_body(run: FakeRun, version: Version) -> dict[str, Any]:
    started, ended = run.start_date, run.end_date
    interval = run.data_interval or (None, None)
    body: dict[str, Any] = {
        "dag_run_id": run.run_id,
        "dag_id": run.dag_id,
        "logical_date": timestamp(run.logical_date),
        "queued_at": timestamp(run.queued_at),
        "start_date": timestamp(started),
        "end_date": timestamp(ended),
        "duration": (ended - started).total_seconds() if started and ended else None,
        "data_interval_start": timestamp(interval[0]),
        "data_interval_end": timestamp(interval[1]),
        "run_after": timestamp(run.run_after),
        "last_scheduling_decision": None,
        "run_type": "manual",
        "state": run.state,
        "triggered_by": run.triggered_by,
        "triggering_user_name": run.triggering_user_name,
        "conf": run.conf,
        "note": run.note,
        "dag_versions": [dag_version_body(run.dag)] if run.task_instances else [],
        "bundle_version": None,
        "dag_display_name": run.dag.display_name or run.dag_id,
    }
    if version >= "3.2":
        body["partition_key"] = None
    if version >= "3.3":
        body["partition_date"] = None
    return body


def _priority_weight(dag: FakeDag, task: FakeTask) -> int:
    seen, waiting = set[str](), [task.task_id]
    while waiting:
        task_id = waiting.pop()
        if task_id not in seen:
            seen.add(task_id)
            waiting += dag.task(task_id).downstream
    return len(seen)


def task_instance_body(run: FakeRun, instance: FakeTaskInstance) -> dict[str, Any]:
    started, ended = instance.start_date, instance.end_date
    return {
        "id": str(instance.id),
        "task_id": instance.task_id,
        "dag_id": run.dag_id,
        "dag_run_id": run.run_id,
        "map_index": instance.map_index,
        "logical_date": timestamp(run.logical_date),
        "run_after": timestamp(run.run_after),
        "start_date": timestamp(started),
        "end_date": timestamp(ended),
        "duration": (ended - started).total_seconds() if started and ended else None,
        "state": instance.state,
        "try_number": instance.try_number,
        "max_tries": instance.task.retries,
        "task_display_name": instance.task_id,
        "dag_display_name": run.dag.display_name or run.dag_id,
        "hostname": "",
        "unixname": "airflow",
        "pool": instance.task.pool,
        "pool_slots": 1,
        "queue": "default",
        "priority_weight": _priority_weight(run.dag, instance.task),
        "operator": "_PythonDecoratedOperator",
        "operator_name": "@task",
        "queued_when": None,
        "scheduled_when": None,
        "pid": None,
        "executor": None,
        "executor_config": "{}",
        "note": None,
        "rendered_map_index": None if instance.map_index < 0 else str(instance.map_index),
        "rendered_fields": {},
        "trigger": None,
        "triggerer_job": None,
        "dag_version": dag_version_body(run.dag),
    }


def dependency_bodies(run: FakeRun, instance: FakeTaskInstance, before: FakeRun | None) -> list[dict[str, str]]:
    """Return the sorted unmet dependencies that keep a task instance from being queued; later states have none.

    Args:
        run: its run.
        instance: the task instance.
        before: the dag's run with the previous logical date.
    """
    if instance.state not in {None, "scheduled"}:
        return []
    found = list(instance.task.hindrances)
    if run.state != "running":
        reason = f"Task instance's dagrun was not in the 'running' state but in the state '{run.state}'."
        found.append(("Dagrun Running", reason))
    if run.dag.is_paused:
        found.append(("Dag Not Paused", f"Task's DAG '{run.dag_id}' is paused."))
    if instance.state is None:
        found.append(("Task Instance State", "Task is in the 'None' state."))
    if before is not None and instance.task.depends_on_past:
        bad = sum(one.state not in {"success", "skipped"} for one in before.instances_of(instance.task_id))
        reason = (
            f"depends_on_past is true for this task, but {bad} previous task instance(s) are not in a successful state."
        )
        found += [("Previous Dagrun State", reason)] if bad else []
    upstream = [other for other in run.task_instances if instance.task_id in other.task.downstream]
    if reason := _trigger_rule_reason([other for other in upstream if other.state != "success"], upstream):
        found.append(("Trigger Rule", reason))
    return [{"name": name, "reason": reason} for name, reason in sorted(found)]


def _trigger_rule_reason(bad: Sequence[FakeTaskInstance], upstream: Sequence[FakeTaskInstance]) -> str:
    if not bad:
        return ""
    counts = dict.fromkeys(("success", "skipped", "failed", "upstream_failed", "removed"), 0)
    for other in upstream:
        if other.state in counts:
            counts[other.state] += 1
    counts |= {"done": sum(counts.values()), "success_setup": 0, "skipped_setup": 0}
    states = ", ".join(f"{name}={count}" for name, count in counts.items())
    return (
        f"Task's trigger rule 'all_success' requires all upstream tasks to have succeeded, but found {len(bad)} "
        f"non-success(es). upstream_states=_UpstreamTIStates({states}), "
        f"upstream_task_ids={ {other.task_id for other in upstream} }"
    )


def hitl_body(run: FakeRun, instance: FakeTaskInstance, asking: FakeAsking) -> dict[str, Any]:
    question, response = asking.question, asking.response
    user = None if response is None else {"id": response.user, "name": response.user}
    return {
        "options": list(question.options),
        "subject": question.subject,
        "body": question.body,
        "defaults": None if question.defaults is None else list(question.defaults),
        "multiple": question.multiple,
        "params": {
            name: {
                "value": None if param.default is NOTSET else param.default,
                "description": param.description,
                "schema": param.schema,
            }
            for name, param in as_params(question.params).items()
        },
        "assigned_users": [{"id": name, "name": name} for name in question.assigned_users],
        "created_at": timestamp(asking.at),
        "responded_by_user": user,
        "responded_at": None if response is None else timestamp(response.at),
        "chosen_options": None if response is None else response.chosen_options,
        "params_input": {} if response is None else response.params_input,
        "response_received": response is not None,
        "task_instance": task_instance_body(run, instance),
    }


def log_content(run: FakeRun, instance: FakeTaskInstance, try_number: int, version: Version) -> list[dict[str, Any]]:
    """Return the log of a try as `GET …/logs/{try_number}` does: a heading with the file, then the events."""
    index = f"/map_index={instance.map_index}" if instance.map_index >= 0 else ""
    path = f"/logs/dag_id={run.dag_id}/run_id={run.run_id}/task_id={instance.task_id}{index}/attempt={try_number}.log"
    begin: dict[str, Any] = {"event": "::group::Log message source details"}
    heading = [begin | {"sources": [path]}] if version < "3.2" else [begin, {"event": path}]
    return [*heading, {"event": "::endgroup::"}, *instance.logs.get(try_number, ())]


def xcom_body(run: FakeRun, xcom: FakeXCom) -> dict[str, Any]:
    return {
        "key": xcom.key,
        "timestamp": timestamp(xcom.timestamp),
        "logical_date": timestamp(run.logical_date),
        "map_index": xcom.map_index,
        "task_id": xcom.task.task_id,
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "dag_display_name": run.dag.display_name or run.dag_id,
        "task_display_name": xcom.task.task_id,
        "run_after": timestamp(run.run_after),
    }


def wait_results(run: FakeRun, task_ids: Sequence[str], version: Version) -> dict[str, Any]:
    """Return the additional keys in the last line of `/wait`.

    Before 3.3 the XComs are in reverse chronological order and only adjacent ones are grouped, so a mapped task whose
    XComs interleave with another's loses values. Since 3.3 they are sorted, and the default is the dag's own results.
    """
    xcoms = [xcom for xcom in run.xcoms if xcom.key == "return_value"]
    if version >= "3.3":
        xcoms = [x for x in xcoms if (x.task.task_id in task_ids if task_ids else x.dag_result)]
        results = _grouped(sorted(xcoms, key=lambda xcom: (xcom.task.task_id, xcom.map_index)))
        return {"results": results} if results else {}
    if not task_ids:
        return {}
    wanted = [xcom for xcom in xcoms if xcom.task.task_id in task_ids]
    newest_first = sorted(wanted, key=lambda xcom: xcom.timestamp, reverse=True)
    return {"results": _grouped(newest_first)}


def _grouped(xcoms: Iterable[FakeXCom]) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for task_id, group in itertools.groupby(xcoms, key=lambda xcom: xcom.task.task_id):
        entries = list(group)
        single = len(entries) == 1 and entries[0].map_index < 0
        results[task_id] = entries[0].value if single else [entry.value for entry in entries]
    return results
