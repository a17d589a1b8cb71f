"""The fake answers exactly like the real Airflow: both get the same requests, and complete answers are compared.

Values that vary between runs (times, ids, paths) are blanked first.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.contract.conftest import AIRFLOWS
from tests.contract.fake_side import ContractAirflow, fake_side

REAL = [name for name in AIRFLOWS if name.startswith("real")]
BLANKED_KEYS = {
    "active_runs_count",
    "file_token",
    "fileloc",
    "git_version",
    "id",
    "statement",
    "unixname",
    "import_error_id",
    "stack_trace",
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
LONG_PAST = "2020-01-01T00:00:00Z"
FAR_FUTURE = "2099-01-01T00:00:00Z"


@dataclass(frozen=True)
class Ask:
    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


Step = Ask | Callable[[ContractAirflow], None]


def get(path: str, **query: Any) -> Ask:
    return Ask("GET", path, query)


def post(path: str, body: Any) -> Ask:
    return Ask("POST", path, body=body)


def patch(path: str, body: Any, **query: Any) -> Ask:
    return Ask("PATCH", path, query, body)


def blanked(value: Any, key: str = "") -> Any:
    match value:
        case dict():
            return {name: blanked(item, name) for name, item in value.items()}
        case list() if key == "downstream_task_ids":  # unordered in 3.1
            return sorted(value)
        case list():
            return [blanked(item, key) for item in value]
        case str() if key in BLANKED_KEYS:
            return "…"
        case int() if key in BLANKED_KEYS:
            return 0
        case float() if key == "duration":
            return 0.0
        case str():
            value = re.sub(r"^/(.*/)?logs/", "…/logs/", value)
            return re.sub(r"when you look for ID \w+", "when you look for ID …", TIME.sub("<time>", value))
        case _:
            return value


async def answers(airflow: ContractAirflow, steps: list[Step]) -> list[tuple[Ask, Any]]:
    found: list[tuple[Ask, Any]] = []
    async with httpx.AsyncClient(base_url=airflow.url, transport=airflow.transport, trust_env=False) as http:
        for step in steps:
            if not isinstance(step, Ask):
                step(airflow)
                continue
            path = step.path if step.path.startswith("/auth") else f"/api/v2{step.path}"
            headers = {"Authorization": f"Bearer {airflow.token()}"} | dict(step.headers)
            body = {} if step.method in {"GET", "DELETE"} else {"json": step.body}
            answer = await http.request(
                step.method, path, params=step.query, headers={k: v for k, v in headers.items() if v}, **body
            )
            is_json = answer.content and answer.headers.get("content-type") == "application/json"
            content = answer.json() if is_json else answer.text
            found.append((step, (answer.status_code, answer.headers.get("content-type"), blanked(content))))
    return found


async def assert_same(airflow: ContractAirflow, steps: list[Step]) -> None:
    fake, real = await answers(fake_side(airflow.version), steps), await answers(airflow, steps)
    for (asked, faked), (_, expected) in zip(fake, real, strict=True):
        difference = [f"{path}: fake {got!r}, real {wanted!r}" for path, got, wanted in differences(faked, expected)]
        assert difference == [], f"{airflow.version}: {asked}"


def differences(got: Any, wanted: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the differences between two JSON values; the order of keys does not matter."""
    if isinstance(got, dict) and isinstance(wanted, dict):
        for key in sorted(got.keys() | wanted.keys()):
            yield from differences(got.get(key, "<no such key>"), wanted.get(key, "<no such key>"), f"{path}.{key}")
    elif isinstance(got, list | tuple) and isinstance(wanted, list | tuple) and len(got) == len(wanted):
        for index, (one, other) in enumerate(zip(got, wanted, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif got != wanted or type(got) is not type(wanted):
        yield path, got, wanted


pytestmark = pytest.mark.parametrize("airflow", REAL, indirect=True)


async def test_log_in_and_authorization_errors_match(airflow: ContractAirflow) -> None:
    steps: list[Step] = [
        Ask("POST", "/auth/token", body={"username": "admin", "password": "wrong"}),
        Ask("POST", "/auth/token", body={"username": "nobody", "password": "wrong"}),
        Ask("GET", "/auth/token"),
        Ask("GET", "/dags/one_task", headers={"Authorization": ""}),
        Ask("GET", "/dags/one_task", headers={"Authorization": "Basic eDp5"}),
        Ask("GET", "/dags/one_task", headers={"Authorization": "Bearer x.y.z"}),
        Ask("GET", "/dags/one_task", headers={"Authorization": "Bearer x"}),
        Ask("POST", "/dags/one_task/dagRuns", body={}, headers={"Authorization": "Bearer x.y.z"}),
        get("/nosuch"),
        Ask("GET", "/nosuch", headers={"Authorization": ""}),
        get("/dags/"),
        Ask("DELETE", "/version"),
    ]
    await assert_same(airflow, steps)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"limit": 0},
        {"limit": 1000},
        {"limit": -1},
        {"limit": "x"},
        {"limit": 3, "offset": 130},
        {"offset": -1},
        {"tags": ["shapes", "mcp"]},
        {"tags": ["shapes", "mcp"], "tags_match_mode": "any"},
        {"tags": ["shapes", "mcp"], "tags_match_mode": "all"},
        {"tags": "mcp", "tags_match_mode": "none"},
        {"tags": "a tag"},
        {"tags": "no such tag"},
        {"dag_id_pattern": "one_t"},
        {"dag_id_pattern": "ONE_T"},
        {"dag_id_pattern": "%task"},
        {"dag_id_pattern": "one_t|grouped"},
        {"dag_id_pattern": "many_00_"},
        {"dag_id_pattern": "~", "limit": 2},
        {"paused": True},
        {"paused": False, "tags": "mcp"},
        {"paused": "perhaps"},
        {"has_import_errors": True},
        {"exclude_stale": False, "limit": 2},
        {"order_by": "-dag_id", "limit": 3},
        {"order_by": ["dag_display_name", "dag_id"], "limit": 3},
        {"order_by": "nosuch"},
        {"nosuch": 1, "limit": 1},
    ],
    ids=str,
)
async def test_lists_of_dags_match(airflow: ContractAirflow, query: dict[str, Any]) -> None:
    await assert_same(airflow, [get("/dags", **query)])


@pytest.mark.parametrize(
    "dag_id",
    [
        "required_param",
        "required_nullable_param",
        "null_default_param",
        "invalid_default_param",
        "plain_default_params",
        "schema_params",
        "presentation_params",
        "odd_param_names",
        "awkward_params",
        "function_args",
        "task_level_params",
        "one_task",
        "grouped",
        "mapped",
        "mapped_leaf",
        "declared_result",
        "team.north.report-v1.2",
        "paused",
        "no_tasks",
        "dated",
        "not_begun",
        "held_back",
        "broken",
        "nosuch",
        "a b",
    ],
)
async def test_dag_endpoints_match(airflow: ContractAirflow, dag_id: str) -> None:
    steps: list[Step] = [
        get(f"/dags/{dag_id}"),
        get(f"/dags/{dag_id}/details"),
        get(f"/dags/{dag_id}/tasks"),
        get(f"/dags/{dag_id}/tasks", order_by="-task_id"),
        get(f"/dags/{dag_id}/dagRuns", run_id_pattern="nosuch"),
    ]
    await assert_same(airflow, steps)


async def test_import_errors_match(airflow: ContractAirflow) -> None:
    await assert_same(airflow, [get("/importErrors"), get("/importErrors", limit=0)])


@pytest.mark.parametrize(
    ("dag_id", "body"),
    [
        ("one_task", {}),
        ("one_task", None),
        ("one_task", []),
        ("one_task", {"logical_date": None, "x": 1}),
        ("one_task", {"logical_date": None, "conf": "x"}),
        ("one_task", {"logical_date": None, "conf": [1]}),
        ("one_task", {"logical_date": "2026-01-01T00:00:00"}),
        ("one_task", {"logical_date": "x"}),
        ("one_task", {"logical_date": None, "data_interval_start": LONG_PAST}),
        ("one_task", {"logical_date": None, "dag_run_id": "a b"}),
        ("one_task", {"logical_date": None, "dag_run_id": "a/b"}),
        ("one_task", {"logical_date": None, "dag_run_id": 1}),
        ("one_task", {"logical_date": None, "dag_run_id": "scheduled__x"}),
        ("one_task", {"logical_date": None, "dag_run_id": "backfill__x"}),
        ("one_task", {"logical_date": None, "dag_run_id": "asset_triggered__x"}),
        ("one_task", {"logical_date": None, "dag_run_id": "asset_materialization__x"}),
        ("one_task", {"logical_date": None, "dag_run_id": "operator_triggered__x"}),
        ("one_task", {"logical_date": None, "dag_run_id": "{run}a..b"}),
        ("one_task", {"logical_date": None, "dag_run_id": ""}),
        ("one_task", {"logical_date": None, "conf": None}),
        ("one_task", {"logical_date": None, "conf": {"x": None, "unknown": {"deep": [1]}}}),
        ("one_task", {"logical_date": None, "note": "n" * 1500}),
        ("one_task", {"logical_date": None, "note": ""}),
        ("paused", {"logical_date": None}),
        ("no_tasks", {"logical_date": None}),
        ("broken", {"logical_date": None}),
        ("nosuch", {"logical_date": None}),
        ("nosuch", {}),
        ("required_param", {"logical_date": None}),
        ("required_param", {"logical_date": None, "conf": {"n": 0}}),
        ("required_param", {"logical_date": None, "conf": {"n": "3"}}),
        ("required_param", {"logical_date": None, "conf": {"s": 1}}),
        ("required_param", {"logical_date": None, "conf": {"n": 1.0}}),
        ("required_param", {"logical_date": None, "conf": {"n": True}}),
        ("required_nullable_param", {"logical_date": None}),
        ("required_nullable_param", {"logical_date": None, "conf": {"n": None}}),
        ("null_default_param", {"logical_date": None}),
        ("invalid_default_param", {"logical_date": None}),
        ("invalid_default_param", {"logical_date": None, "conf": {"n": 3}}),
        ("plain_default_params", {"logical_date": None, "conf": {"i": "text"}}),
        ("odd_param_names", {"logical_date": None, "conf": {"a b": 2}}),
        ("task_level_params", {"logical_date": None, "conf": {"task_level": "x"}}),
        ("function_args", {"logical_date": None, "conf": {"days": 4}}),
        *(
            ("schema_params", {"logical_date": None, "conf": {name: value}})
            for name, value in {
                "enum": "z",
                "const": "d",
                "date": "nope",
                "date_time": "nope",
                "time": "25:00",
                "email": "nope",
                "multiline": "one",
                "pattern": "AB",
                "number": -1,
                "array": [],
                "object": {},
                "any_of": "x",
            }.items()
        ),
        ("schema_params", {"logical_date": None, "conf": {"pattern": 1, "enum": "z"}}),
    ],
    ids=str,
)
async def test_triggers_match(airflow: ContractAirflow, dag_id: str, body: Any) -> None:
    if isinstance(body, dict) and "{run}" in str(body.get("dag_run_id")):
        body = body | {"dag_run_id": body["dag_run_id"].format(run=uuid.uuid4().hex)}
    await assert_same(airflow, [post(f"/dags/{dag_id}/dagRuns", body)])


@pytest.mark.parametrize("dag_id", ["dated", "not_begun"])
@pytest.mark.parametrize("has_date", [True, False])
async def test_runs_outside_of_task_dates_match(
    airflow: ContractAirflow, run_id: str, dag_id: str, *, has_date: bool
) -> None:
    logical_date = f"2026-01-01T00:00:00.{uuid.uuid4().int % 1_000_000:06}Z" if has_date else None
    run = f"/dags/{dag_id}/dagRuns/{run_id}"
    steps: list[Step] = [
        post(f"/dags/{dag_id}/dagRuns", {"logical_date": logical_date, "dag_run_id": run_id}),
        get(f"{run}/taskInstances"),
        lambda airflow: airflow.start(dag_id, run_id),
        patch(run, {"state": "success"}),
        get(f"{run}/taskInstances"),
        post("/dags/~/dagRuns/~/taskInstances/list", {"dag_run_ids": [run_id]}),
    ]
    await assert_same(airflow, steps)


async def test_unmet_task_dependencies_match(airflow: ContractAirflow, run_id: str) -> None:
    second = f"{run_id}.2"
    days = sorted(f"2026-01-01T00:00:00.{uuid.uuid4().int % 1_000_000:06}Z" for _ in range(2))
    held_back, mapped, grouped = (f"/dags/{dag_id}/dagRuns" for dag_id in ("held_back", "mapped_leaf", "grouped"))
    steps: list[Step] = [
        post(held_back, {"logical_date": days[0], "dag_run_id": run_id}),
        get(f"{held_back}/{run_id}/taskInstances/in_order/dependencies"),
        lambda airflow: airflow.start("held_back", run_id),
        get(f"{held_back}/{run_id}/taskInstances/in_order/dependencies"),
        get(f"{held_back}/{run_id}/taskInstances/pooled/dependencies"),
        lambda airflow: airflow.set_task("held_back", run_id, "in_order", "failed"),
        get(f"{held_back}/{run_id}/taskInstances/in_order/dependencies"),
        post(held_back, {"logical_date": days[1], "dag_run_id": second}),
        lambda airflow: airflow.start("held_back", second),
        get(f"{held_back}/{second}/taskInstances/in_order/dependencies"),
        get(f"{held_back}/{second}/taskInstances/in_order/-1/dependencies"),
        get(f"{held_back}/{second}/taskInstances/in_order/0/dependencies"),
        get(f"{held_back}/{second}/taskInstances/nosuch/dependencies"),
        get(f"{held_back}/nosuch/taskInstances/in_order/dependencies"),
        post(mapped, {"logical_date": None, "dag_run_id": run_id}),
        lambda airflow: airflow.start("mapped_leaf", run_id),
        get(f"{mapped}/{run_id}/taskInstances/double/dependencies"),
        get(f"{mapped}/{run_id}/taskInstances/double/1/dependencies"),
        post(grouped, {"logical_date": None, "dag_run_id": run_id}),
        lambda airflow: airflow.start("grouped", run_id),
        get(f"{grouped}/{run_id}/taskInstances/group.inner/dependencies"),
    ]
    await assert_same(airflow, steps)


async def test_conflicts_match(airflow: ContractAirflow, run_id: str) -> None:
    day = f"2026-01-01T00:00:00.{uuid.uuid4().int % 1_000_000:06}Z"
    runs = "/dags/one_task/dagRuns"
    steps: list[Step] = [
        post(runs, {"logical_date": day, "dag_run_id": run_id, "conf": {"x": 2}, "note": "a note"}),
        post(runs, {"logical_date": None, "dag_run_id": run_id}),
        post(runs, {"logical_date": day, "dag_run_id": f"{run_id}.2"}),
        post(runs, {"logical_date": day, "dag_run_id": run_id}),
        post("/dags/grouped/dagRuns", {"logical_date": day, "dag_run_id": run_id}),
        get(f"{runs}/{run_id}"),
        get(f"{runs}/{run_id}.2"),
    ]
    await assert_same(airflow, steps)


async def test_life_of_a_run_matches(airflow: ContractAirflow, run_id: str) -> None:
    run = f"/dags/grouped/dagRuns/{run_id}"
    steps: list[Step] = [
        post("/dags/grouped/dagRuns", {"logical_date": None, "dag_run_id": run_id}),
        get(f"{run}/taskInstances"),
        lambda airflow: airflow.start("grouped", run_id),
        lambda airflow: airflow.set_task("grouped", run_id, "group.first", "success"),
        lambda airflow: airflow.set_xcom("grouped", run_id, "group.first", {"a": [1, None, "ü"]}),
        lambda airflow: airflow.set_task("grouped", run_id, "group.inner", "failed"),
        lambda airflow: airflow.set_xcom("grouped", run_id, "group.other", float("nan")),
        get(run),
        Ask("DELETE", run),
        get(f"{run}/taskInstances"),
        get(f"{run}/taskInstances", state="failed"),
        get(f"{run}/taskInstances", state=["failed", "none"]),
        get(f"{run}/taskInstances", state="awaiting_input"),
        get(f"{run}/taskInstances", state="nosuch"),
        get(f"{run}/taskInstances", limit=1, offset=1),
        get(f"{run}/taskInstances", task_id="group.inner"),
        post("/dags/~/dagRuns/~/taskInstances/list", {"dag_run_ids": [run_id]}),
        post("/dags/~/dagRuns/~/taskInstances/list", {"dag_run_ids": [run_id], "state": ["failed", None]}),
        post("/dags/~/dagRuns/~/taskInstances/list", {"dag_run_ids": [run_id], "task_ids": ["group.other"]}),
        post("/dags/~/dagRuns/~/taskInstances/list", {"dag_run_ids": [run_id], "page_limit": 1, "page_offset": 1}),
        post("/dags/~/dagRuns/~/taskInstances/list", {"dag_run_ids": [run_id], "state": ["awaiting_input"]}),
        post("/dags/~/dagRuns/~/taskInstances/list", {"nosuch": 1}),
        get(f"{run}/taskInstances/~/xcomEntries"),
        get(f"{run}/taskInstances/group.first/xcomEntries", xcom_key="return_value"),
        get(f"{run}/taskInstances/~/xcomEntries", limit=1, offset=1),
        get(f"{run}/taskInstances/group.first/xcomEntries/return_value"),
        get(f"{run}/taskInstances/group.other/xcomEntries/return_value"),
        get(f"{run}/taskInstances/group.first/xcomEntries/return_value", map_index=0),
        get(f"{run}/taskInstances/group.first/xcomEntries/return_value", map_index=-2),
        get(f"{run}/taskInstances/nosuch/xcomEntries/return_value"),
        get(f"{run}/taskInstances/group.first/xcomEntries/nosuch"),
        get(f"{run}/taskInstances/nosuch/logs/1"),
        get(f"{run}/taskInstances/group.other/logs/1"),
        Ask("GET", f"{run}/taskInstances/group.inner/logs/1", headers={"Accept": "text/html"}),
        patch(run, {"state": "running"}),
        patch(run, {"note": "a note"}),
        patch(run, {"note": "another", "state": "failed"}, update_mask="note"),
        patch(run, {}),
        patch(run, {"state": "failed", "nosuch": 1}),
        patch(run, {"state": "failed"}),
        get(f"{run}/taskInstances"),
        get(f"{run}/wait", interval=1),
        get(f"{run}/wait", interval=1, result="group.first"),
        get(f"{run}/wait", interval=1, result=["group.first", "nosuch"]),
        get(f"{run}/wait", interval=1, result="group.inner"),
        get(f"{run}/wait"),
        get(f"{run}/wait", interval=0),
        get(f"{run}/wait", interval="soon"),
        patch(run, {"state": "success"}),
        get(f"{run}/wait", interval=1),
        patch(run, {"state": "queued"}),
        Ask("DELETE", run),
        Ask("DELETE", run),
        get(run),
        get(f"{run}/wait", interval=1),
        patch(run, {"state": "failed"}),
        get(f"{run}/taskInstances"),
        get(f"{run}/taskInstances/~/xcomEntries"),
    ]
    await assert_same(airflow, steps)


async def test_states_set_on_a_queued_run_match(airflow: ContractAirflow, run_id: str) -> None:
    steps: list[Step] = []
    for state in ("success", "failed"):
        run = f"/dags/grouped/dagRuns/{run_id}.{state}"
        steps += [
            post("/dags/grouped/dagRuns", {"logical_date": None, "dag_run_id": f"{run_id}.{state}"}),
            patch(run, {"state": state}),
            get(f"{run}/taskInstances"),
            get(f"{run}/wait", interval=1),
        ]
    await assert_same(airflow, steps)


async def test_mapped_tasks_match(airflow: ContractAirflow, run_id: str) -> None:
    run = f"/dags/mapped_leaf/dagRuns/{run_id}"

    def store(airflow: ContractAirflow) -> None:
        for index in (2, 0, 1):
            airflow.set_xcom("mapped_leaf", run_id, "double", 10 * index, map_index=index)

    steps: list[Step] = [
        post("/dags/mapped_leaf/dagRuns", {"logical_date": None, "dag_run_id": run_id}),
        post("/dags/mapped/dagRuns", {"logical_date": None, "dag_run_id": run_id}),
        get(f"{run}/taskInstances"),
        get(f"/dags/mapped/dagRuns/{run_id}/taskInstances"),
        store,
        get(f"{run}/taskInstances/double/xcomEntries"),
        get(f"{run}/taskInstances/double/xcomEntries", map_index=1),
        get(f"{run}/taskInstances/double/xcomEntries/return_value"),
        get(f"{run}/taskInstances/double/xcomEntries/return_value", map_index=1),
        patch(run, {"state": "success"}),
        get(f"{run}/wait", interval=1, result="double"),
    ]
    await assert_same(airflow, steps)


async def test_results_of_several_tasks_match(airflow: ContractAirflow, run_id: str) -> None:
    """Before 3.3, Airflow mixes up XComs that interleave in time; the fake loses the same values."""
    run = f"/dags/mapped/dagRuns/{run_id}"

    def store(airflow: ContractAirflow) -> None:
        airflow.set_xcom("mapped", run_id, "numbers", [1])
        airflow.set_xcom("mapped", run_id, "double", 2)
        airflow.set_xcom("mapped", run_id, "total", 2, is_result=True)

    steps: list[Step] = [
        post("/dags/mapped/dagRuns", {"logical_date": None, "dag_run_id": run_id}),
        store,
        patch(run, {"state": "success"}),
        get(f"{run}/wait", interval=1),
        get(f"{run}/wait", interval=1, result=["total", "numbers", "double"]),
        get(f"{run}/wait", interval=1, result=["double"]),
    ]
    await assert_same(airflow, steps)


async def test_lists_of_runs_match(airflow: ContractAirflow, run_id: str) -> None:
    dags = ["grouped", "declared_result"]
    steps: list[Step] = [
        post(f"/dags/{dag_id}/dagRuns", {"logical_date": None, "dag_run_id": f"{run_id}.{n}"})
        for n, dag_id in enumerate([*dags, "grouped"])
    ]
    steps += [
        lambda airflow: airflow.start("grouped", f"{run_id}.2"),
        patch(f"/dags/grouped/dagRuns/{run_id}.0", {"state": "failed"}),
        patch(f"/dags/declared_result/dagRuns/{run_id}.1", {"state": "success"}),
    ]
    bodies: list[dict[str, Any]] = [
        {"dag_ids": ["nosuch"]},
        {"states": ["nosuch"]},
        {"nosuch": 1},
        {"order_by": "nosuch"},
        {"page_limit": -1},
        {"end_date_gte": "2026-01-01T00:00:00"},
        {"dag_ids": dags, "end_date_gte": FAR_FUTURE},
        {"dag_ids": dags, "page_limit": 0, "end_date_gte": FAR_FUTURE},
    ]
    steps += [post("/dags/~/dagRuns/list", body) for body in bodies]
    steps += [post("/dags/grouped/dagRuns/list", {})]
    queries: list[dict[str, Any]] = [
        {},
        {"limit": 2, "offset": 1},
        {"state": "failed"},
        {"state": ["failed", "running"]},
        {"state": "nosuch"},
        {"order_by": "-run_id"},
        {"order_by": "end_date"},
        {"order_by": "-end_date"},
        {"order_by": "nosuch"},
        {"end_date_gte": LONG_PAST},
        {"end_date_gte": FAR_FUTURE},
        {"end_date_lte": LONG_PAST},
        {"start_date_gte": LONG_PAST},
        {"run_after_gte": FAR_FUTURE},
        {"updated_at_gte": LONG_PAST},
        {"triggering_user_name_pattern": "ADM"},
        {"triggering_user_name_pattern": "nobody"},
        {"dag_id_pattern": "group"},
    ]
    steps += [get("/dags/~/dagRuns", run_id_pattern=run_id, **query) for query in queries]
    steps += [
        get("/dags/grouped/dagRuns", run_id_pattern=run_id),
        get("/dags/~/dagRuns", run_id_pattern=run_id.upper()),
        get("/dags/~/dagRuns", run_id_pattern=f"{run_id}.0|{run_id}.1"),
    ]
    if airflow.version >= "3.2":  # older versions ignore the pattern and list all runs
        steps += [get("/dags/~/dagRuns", run_id_prefix_pattern=pattern) for pattern in (run_id, run_id.upper())]
    await assert_same(airflow, steps)


async def test_task_logs_match(airflow: ContractAirflow, run_id: str) -> None:
    run = f"/dags/one_task/dagRuns/{run_id}"
    log: list[dict[str, Any]] = [
        {"timestamp": "2026-01-01T00:00:00Z", "event": "hello", "level": "info", "logger": "task.stdout"},
        {
            "timestamp": "2026-01-01T00:00:01Z",
            "event": "Task failed with exception",
            "level": "error",
            "logger": "task",
            "error_detail": [
                {
                    "exc_type": "ValueError",
                    "exc_value": "no",
                    "exc_notes": [],
                    "syntax_error": None,
                    "is_cause": False,
                    "frames": [{"filename": "/dags/dags.py", "lineno": 1, "name": "call"}],
                    "is_group": False,
                    "exceptions": [],
                }
            ],
        },
    ]
    steps: list[Step] = [
        post("/dags/one_task/dagRuns", {"logical_date": None, "dag_run_id": run_id}),
        lambda airflow: airflow.set_task("one_task", run_id, "add", "failed", log=log),
        get(f"{run}/taskInstances/add/logs/1"),
        get(f"{run}/taskInstances/add/logs/1", full_content=True, map_index=-1),
        get(f"{run}/taskInstances/add/logs/1", map_index=0),
        get(f"{run}/taskInstances/add/logs/2"),
        get(f"{run}/taskInstances/add/logs/x"),
    ]
    await assert_same(airflow, steps)
