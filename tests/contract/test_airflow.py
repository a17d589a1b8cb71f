"""The facts about Airflow's REST API that dagcall relies on, checked on the fake and on the real Airflow.

`test_fake.py` compares the answers word for word; these tests name each fact, so that a change in a new Airflow version
fails the test for the fact it breaks.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.contract.fake_side import ContractAirflow


async def trigger(http: httpx.AsyncClient, dag_id: str, run_id: str, **body: Any) -> httpx.Response:
    return await http.post(f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "dag_run_id": run_id} | body)


async def set_state(http: httpx.AsyncClient, dag_id: str, run_id: str, state: str) -> None:
    (await http.patch(f"/dags/{dag_id}/dagRuns/{run_id}", json={"state": state})).raise_for_status()


@asynccontextmanager
async def waiting(
    http: httpx.AsyncClient, dag_id: str, run_id: str, **query: Any
) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[str]]]:
    path = f"/dags/{dag_id}/dagRuns/{run_id}/wait"
    headers = {"Accept-Encoding": "identity"}
    async with (
        asyncio.timeout(60),
        http.stream("GET", path, params={"interval": 0.1} | query, headers=headers) as answer,
    ):
        yield answer, answer.aiter_lines()


async def params_of(http: httpx.AsyncClient, dag_id: str) -> dict[str, Any]:
    params: dict[str, Any] = (await http.get(f"/dags/{dag_id}/details")).json()["params"]
    return params


# Credentials


async def test_missing_or_expired_token_is_401_and_invalid_token_is_403(
    airflow: ContractAirflow, http: httpx.AsyncClient
) -> None:
    async def ask(authorization: str | None) -> tuple[int, Any]:
        http.headers.pop("Authorization", None)
        if authorization is not None:
            http.headers["Authorization"] = authorization
        answer = await http.get("/dags", params={"limit": 1})
        return answer.status_code, answer.json().get("detail")

    assert await ask(None) == (401, "Not authenticated")
    assert await ask("Bearer a.b.c") == (403, "Invalid JWT token")
    assert await ask(f"Bearer {airflow.token(seconds=-60)}") == (401, "Token Expired")
    assert await ask(f"Bearer {airflow.token(seconds=60)}") == (200, None)


async def test_log_in_with_a_password_returns_a_token(airflow: ContractAirflow, http: httpx.AsyncClient) -> None:
    async def log_in(password: str) -> httpx.Response:
        return await http.post(f"{airflow.url}/auth/token", json={"username": "admin", "password": password})

    assert (await log_in("wrong")).status_code == 401
    answer = await log_in("admin")
    assert answer.status_code == 201
    http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    assert (await http.get("/dags/one_task")).status_code == 200


async def test_viewer_can_read_but_not_trigger(airflow: ContractAirflow, http: httpx.AsyncClient, run_id: str) -> None:
    await trigger(http, "one_task", run_id)
    http.headers["Authorization"] = f"Bearer {airflow.token('viewer')}"
    refused = await trigger(http, "one_task", f"{run_id}.2")
    assert (refused.status_code, refused.json()) == (403, {"detail": "Forbidden"})
    assert (await http.get(f"/dags/one_task/dagRuns/{run_id}")).status_code == 200
    assert (await http.patch(f"/dags/one_task/dagRuns/{run_id}", json={"state": "failed"})).status_code == 403
    assert (await http.post("/dags/~/dagRuns/list", json={"dag_ids": ["nosuch"]})).status_code == 200
    assert (await http.get("/importErrors")).status_code == 200


async def test_version_needs_no_token(airflow: ContractAirflow, http: httpx.AsyncClient) -> None:
    del http.headers["Authorization"]
    assert (await http.get("/version")).json()["version"] == airflow.version


OVERRIDES = "/config/section/core/option/dag_run_conf_overrides_params"


async def test_configuration_is_hidden_by_default(http: httpx.AsyncClient) -> None:
    answer = await http.get(OVERRIDES)
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith("Your Airflow administrator chose not to expose the configuration")


@pytest.mark.parametrize("airflow", ["fake-3.3.2-open", "real-3.3.2-open"], indirect=True)
async def test_exposed_configuration_is_read_option_by_option(http: httpx.AsyncClient) -> None:
    options = [{"key": "dag_run_conf_overrides_params", "value": "True"}]
    assert (await http.get(OVERRIDES)).json() == {"sections": [{"name": "core", "options": options}]}
    assert (await http.get(OVERRIDES.replace("overrides", "knows"))).status_code == 404


@pytest.mark.parametrize("airflow", ["fake-3.3.2-open", "real-3.3.2-open"], indirect=True)
async def test_all_admins_mode_refuses_only_an_invalid_token(
    airflow: ContractAirflow, http: httpx.AsyncClient, run_id: str
) -> None:
    del http.headers["Authorization"]
    assert (await trigger(http, "one_task", run_id)).json()["triggering_user_name"] == "Anonymous"
    answer = await http.get(f"{airflow.url}/auth/token")
    assert (answer.status_code, list(answer.json())) == (201, ["access_token"])
    http.headers["Authorization"] = "Bearer a.b.c"
    assert (await http.get("/dags/one_task")).status_code == 403


# Discovery


async def test_page_has_at_most_100_dags(http: httpx.AsyncClient) -> None:
    first = (await http.get("/dags", params={"limit": 1000, "tags": "many"})).json()
    rest = (await http.get("/dags", params={"limit": 1000, "tags": "many", "offset": 100})).json()
    assert [dag["dag_id"] for dag in first["dags"] + rest["dags"]] == [f"many_{number:03}" for number in range(120)]
    assert (len(first["dags"]), first["total_entries"]) == (100, 120)


async def test_tags_match_any_unless_all_is_requested(http: httpx.AsyncClient) -> None:
    async def ask(**query: Any) -> list[str]:
        dags = (await http.get("/dags", params={"tags": ["many", "mcp"], "limit": 1, **query})).json()["dags"]
        return [dag["dag_id"] for dag in dags]

    assert await ask() == ["many_000"]
    assert await ask(tags_match_mode="all") == []


async def test_pattern_alternatives_work_since_3_2(airflow: ContractAirflow, http: httpx.AsyncClient) -> None:
    answer = (await http.get("/dags", params={"dag_id_pattern": "one_task|grouped"})).json()
    found = {dag["dag_id"] for dag in answer["dags"]}
    assert found == (set() if airflow.version < "3.2" else {"one_task", "grouped"})


async def test_file_with_an_import_error_has_no_dag(http: httpx.AsyncClient) -> None:
    errors = (await http.get("/importErrors")).json()["import_errors"]
    assert [error["filename"] for error in errors] == ["broken.py"]
    assert (await http.get("/dags/broken")).status_code == 404


async def test_task_list_shows_mapping_and_downstream_tasks(http: httpx.AsyncClient) -> None:
    tasks = (await http.get("/dags/mapped/tasks")).json()["tasks"]
    assert [(task["task_id"], task["is_mapped"], task["downstream_task_ids"]) for task in tasks] == [
        ("double", True, ["total"]),
        ("numbers", False, ["double"]),
        ("total", False, []),
    ]


# Params


async def test_missing_default_and_null_default_look_the_same(http: httpx.AsyncClient) -> None:
    required, optional = await params_of(http, "required_nullable_param"), await params_of(http, "null_default_param")
    assert required["n"] == optional["n"]
    assert required["n"]["value"] is None


@pytest.mark.parametrize(
    ("dag_id", "conf", "reason"),
    [
        pytest.param("required_param", {}, "n: No value passed", id="required"),
        pytest.param("required_param", {"n": 0}, "n: 0 is less than the minimum of 1", id="schema"),
        pytest.param("required_param", {"n": "3"}, "n: '3' is not of type 'integer'", id="nothing is converted"),
        pytest.param("required_nullable_param", {}, "n: No value passed", id="nullable and yet required"),
        pytest.param("required_nullable_param", {"n": None}, None, id="null is a value"),
        pytest.param("null_default_param", {}, None, id="null by default"),
        pytest.param("invalid_default_param", {}, "n: 'three' is not of type 'integer'", id="invalid default"),
        pytest.param("invalid_default_param", {"n": 3}, None, id="invalid default replaced"),
        pytest.param("plain_default_params", {"i": "text"}, None, id="plain default takes anything"),
        pytest.param("one_task", {"unknown": [1]}, None, id="unknown key"),
        pytest.param("schema_params", {"date": "nope"}, "date: 'nope' is not a 'date'", id="date is checked"),
        pytest.param("schema_params", {"date_time": "nope"}, None, id="date-time is not"),
        pytest.param("odd_param_names", {"a b": 2, "ü": "v", "": 1}, None, id="odd names"),
        pytest.param("task_level_params", {"task_level": "text"}, None, id="param of a task"),
    ],
)
async def test_trigger_validates_conf_against_params(
    http: httpx.AsyncClient, run_id: str, dag_id: str, conf: dict[str, Any], reason: str | None
) -> None:
    answer = await trigger(http, dag_id, run_id, conf=conf)
    if reason is None:
        assert (answer.status_code, answer.json()["conf"]) == (200, conf)
    else:
        assert answer.status_code == 400
        assert answer.json()["detail"].splitlines()[0].startswith(f"Invalid input for param {reason}")
        assert (await http.get(f"/dags/{dag_id}/dagRuns/{run_id}")).status_code == 404


async def test_invalid_default_is_shown_only_by_3_1(airflow: ContractAirflow, http: httpx.AsyncClient) -> None:
    value = (await params_of(http, "invalid_default_param"))["n"]["value"]
    assert value == ("three" if airflow.version < "3.2" else None)


# Triggers


async def test_logical_date_is_required_even_if_null(http: httpx.AsyncClient) -> None:
    answer = await http.post("/dags/one_task/dagRuns", json={})
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "logical_date"])


async def test_paused_dag_accepts_runs_and_leaves_them_queued(http: httpx.AsyncClient, run_id: str) -> None:
    answer = await trigger(http, "paused", run_id)
    assert (answer.status_code, answer.json()["state"]) == (200, "queued")


async def test_409_does_not_tell_a_taken_run_id_from_a_taken_date(
    airflow: ContractAirflow, http: httpx.AsyncClient, run_id: str
) -> None:
    date = "2026-02-03T04:05:06.789012Z"
    assert (await trigger(http, "grouped", run_id, logical_date=date)).status_code in {200, 409}
    await trigger(http, "grouped", run_id)
    same_id = await trigger(http, "grouped", run_id)
    same_date = await trigger(http, "grouped", f"{run_id}.2", logical_date=date)
    for answer in (same_id, same_date):
        assert (answer.status_code, answer.json()["detail"]["reason"]) == (409, "Unique constraint violation")
    shown = same_id.json()["detail"]["orig_error"] != same_date.json()["detail"]["orig_error"]
    assert shown == (airflow.version < "3.2")
    assert (await http.get(f"/dags/grouped/dagRuns/{run_id}")).status_code == 200
    assert (await http.get(f"/dags/grouped/dagRuns/{run_id}.2")).status_code == 404


async def test_run_keeps_its_conf_note_and_user(http: httpx.AsyncClient, run_id: str) -> None:
    await trigger(http, "one_task", run_id, conf={"x": 2}, note="a note")
    run = (await http.get(f"/dags/one_task/dagRuns/{run_id}")).json()
    assert (run["conf"], run["note"], run["triggering_user_name"]) == ({"x": 2}, "a note", "admin")


# Waiting


async def test_wait_sends_a_line_at_once_and_one_at_the_end(
    airflow: ContractAirflow, http: httpx.AsyncClient, run_id: str
) -> None:
    await trigger(http, "one_task", run_id)
    airflow.start("one_task", run_id)
    async with waiting(http, "one_task", run_id) as (answer, lines):
        assert "content-type" not in answer.headers
        assert json.loads(await anext(lines)) == {"state": "running"}
        await set_state(http, "one_task", run_id, "failed")
        rest = [json.loads(line) async for line in lines]
    assert rest[-1] == {"state": "failed"}
    assert all(line == {"state": "running"} for line in rest[:-1])


async def test_wait_ends_without_a_final_state_when_the_run_is_deleted(
    airflow: ContractAirflow, http: httpx.AsyncClient, run_id: str
) -> None:
    await trigger(http, "one_task", run_id)
    states = []
    async with waiting(http, "one_task", run_id) as (_, lines):
        states.append(await anext(lines))
        airflow.delete("one_task", run_id)
        try:
            states += [line async for line in lines]
        except httpx.RemoteProtocolError:  # some versions cut the connection instead
            assert airflow.transport is None
    assert {json.loads(state)["state"] for state in states} == {"queued"}


async def test_gzip_delays_the_lines_in_3_1(airflow: ContractAirflow, http: httpx.AsyncClient, run_id: str) -> None:
    await trigger(http, "one_task", run_id)
    path = f"/dags/one_task/dagRuns/{run_id}/wait"
    headers = {"Accept-Encoding": "gzip"}
    async with http.stream("GET", path, params={"interval": 0.1}, headers=headers) as answer:
        first = asyncio.ensure_future(anext(answer.aiter_lines()))
        comes_at_once = airflow.version >= "3.2"
        arrived, _ = await asyncio.wait([first], timeout=60 if comes_at_once else 1)
        assert bool(arrived) == comes_at_once
        await set_state(http, "one_task", run_id, "success")
        async with asyncio.timeout(60):
            assert json.loads(await first)["state"] == ("queued")


async def test_mapped_results_are_ordered_since_3_3(
    airflow: ContractAirflow, http: httpx.AsyncClient, run_id: str
) -> None:
    await trigger(http, "mapped_leaf", run_id)
    for index in (2, 0, 1):
        airflow.set_xcom("mapped_leaf", run_id, "double", 10 * index, map_index=index)
    await set_state(http, "mapped_leaf", run_id, "success")
    async with waiting(http, "mapped_leaf", run_id, result="double") as (_, lines):
        results = json.loads(await anext(lines))["results"]
    assert results == {"double": [10, 0, 20] if airflow.version < "3.3" else [0, 10, 20]}


async def test_declared_result_is_returned_by_default_since_3_3(
    airflow: ContractAirflow, http: httpx.AsyncClient, run_id: str
) -> None:
    await trigger(http, "declared_result", run_id)
    airflow.set_xcom("declared_result", run_id, "answer", 42, is_result=True)
    airflow.set_xcom("declared_result", run_id, "afterwards", -42)
    await set_state(http, "declared_result", run_id, "success")
    async with waiting(http, "declared_result", run_id) as (_, lines):
        last = json.loads(await anext(lines))
    assert last == {"state": "success"} | ({} if airflow.version < "3.3" else {"results": {"answer": 42}})


async def test_nan_is_nan_in_wait_and_null_in_xcom_entries(
    airflow: ContractAirflow, http: httpx.AsyncClient, run_id: str
) -> None:
    await trigger(http, "one_task", run_id)
    airflow.set_xcom("one_task", run_id, "add", [float("nan")])
    await set_state(http, "one_task", run_id, "success")
    async with waiting(http, "one_task", run_id, result="add") as (_, lines):
        assert '"results": {"add": [NaN]}' in await anext(lines)
    entry = await http.get(f"/dags/one_task/dagRuns/{run_id}/taskInstances/add/xcomEntries/return_value")
    assert entry.json()["value"] == [None]


async def test_xcom_entry_keeps_the_workers_envelope(
    airflow: ContractAirflow, http: httpx.AsyncClient, run_id: str
) -> None:
    value = {"__classname__": "builtins.tuple", "__version__": 1, "__data__": [1, {"a": None}]}
    await trigger(http, "one_task", run_id)
    airflow.set_xcom("one_task", run_id, "add", value)
    entry = await http.get(f"/dags/one_task/dagRuns/{run_id}/taskInstances/add/xcomEntries/return_value")
    assert entry.json()["value"] == value


# Many runs at once


async def test_one_request_finds_the_ended_runs_of_many_dags(
    airflow: ContractAirflow, http: httpx.AsyncClient, run_id: str
) -> None:
    for number, dag_id in enumerate(("one_task", "mapped", "one_task")):
        await trigger(http, dag_id, f"{run_id}.{number}")
    airflow.start("one_task", f"{run_id}.2")
    await set_state(http, "mapped", f"{run_id}.1", "success")
    first_end = (await http.get(f"/dags/mapped/dagRuns/{run_id}.1")).json()["end_date"]
    await set_state(http, "one_task", f"{run_id}.0", "failed")
    body = {
        "dag_ids": ["one_task", "mapped"],
        "states": ["success", "failed"],
        "end_date_gte": first_end,
        "order_by": "end_date",
        "page_limit": 1000,
    }
    runs = (await http.post("/dags/~/dagRuns/list", json=body)).json()["dag_runs"]
    assert [(run["dag_run_id"], run["state"]) for run in runs] == [
        (f"{run_id}.1", "success"),
        (f"{run_id}.0", "failed"),
    ]


async def test_end_date_filter_includes_unfinished_runs_only_in_a_query(http: httpx.AsyncClient, run_id: str) -> None:
    """A query treats unfinished runs as ending now, so only the body finds the runs that have ended."""
    await trigger(http, "no_tasks", run_id)
    since = "2020-01-01T00:00:00Z"
    by_query = await http.get("/dags/~/dagRuns", params={"end_date_gte": since, "run_id_pattern": run_id})
    by_body = await http.post("/dags/~/dagRuns/list", json={"end_date_gte": since, "dag_ids": ["no_tasks"]})
    assert by_query.json()["total_entries"] == 1
    assert by_body.json()["total_entries"] == 0


async def test_batch_page_is_not_limited_to_100(http: httpx.AsyncClient, run_id: str) -> None:
    for number in range(101):
        await trigger(http, "many_119", f"{run_id}.{number}")
    body = {"dag_ids": ["many_119"], "page_limit": 1000}
    assert len((await http.post("/dags/~/dagRuns/list", json=body)).json()["dag_runs"]) >= 101
    query: dict[str, Any] = {"limit": 1000, "run_id_pattern": run_id}
    assert len((await http.get("/dags/~/dagRuns", params=query)).json()["dag_runs"]) == 100
    instances = await http.post(
        "/dags/~/dagRuns/~/taskInstances/list", json={"dag_ids": ["many_119"], "page_limit": 1000}
    )
    assert len(instances.json()["task_instances"]) >= 101


async def test_queued_runs_count_as_active_below_3_3(
    airflow: ContractAirflow, http: httpx.AsyncClient, run_id: str
) -> None:
    async def active() -> Any:
        return (await http.get("/dags/many_118/details")).json().get("active_runs_count")

    before = await active()
    await trigger(http, "many_118", run_id)
    queued = await active()
    airflow.start("many_118", run_id)
    expected = {"3.1.8": (None, None, None), "3.2.2": (0, 1, 1), "3.3.2": (0, 0, 1)}
    assert (before, queued, await active()) == expected[airflow.version]


# Cancelling and failing


async def test_setting_a_run_to_failed_skips_tasks_that_have_not_started(
    airflow: ContractAirflow, http: httpx.AsyncClient, run_id: str
) -> None:
    await trigger(http, "grouped", run_id)
    airflow.start("grouped", run_id)
    airflow.set_task("grouped", run_id, "group.first", "success")
    await set_state(http, "grouped", run_id, "failed")
    instances = (await http.get(f"/dags/grouped/dagRuns/{run_id}/taskInstances")).json()["task_instances"]
    assert [(instance["task_id"], instance["state"]) for instance in instances] == [
        ("group.first", "success"),
        ("group.inner", "skipped"),
        ("group.other", "skipped"),
    ]


async def test_final_state_can_be_overwritten(http: httpx.AsyncClient, run_id: str) -> None:
    await trigger(http, "one_task", run_id)
    await set_state(http, "one_task", run_id, "success")
    await set_state(http, "one_task", run_id, "failed")
    assert (await http.get(f"/dags/one_task/dagRuns/{run_id}")).json()["state"] == "failed"


async def test_running_run_cannot_be_deleted(airflow: ContractAirflow, http: httpx.AsyncClient, run_id: str) -> None:
    await trigger(http, "one_task", run_id)
    airflow.start("one_task", run_id)
    assert (await http.delete(f"/dags/one_task/dagRuns/{run_id}")).status_code == 409
    await set_state(http, "one_task", run_id, "failed")
    assert (await http.delete(f"/dags/one_task/dagRuns/{run_id}")).status_code == 204


async def test_awaiting_input_is_a_state_since_3_3(
    airflow: ContractAirflow, http: httpx.AsyncClient, run_id: str
) -> None:
    await trigger(http, "one_task", run_id)
    answer = await http.get(f"/dags/one_task/dagRuns/{run_id}/taskInstances", params={"state": "awaiting_input"})
    assert answer.status_code == (422 if airflow.version < "3.3" else 200)
