"""The fake's controls for tests: outcomes of runs, time, faults, a real socket."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask, FakeUser, Fault, SkipTask
from tests.fake_airflow.serving import WallClock, served
from tests.support.plain_http import PLAIN


def refuse(_params: Mapping[str, Any]) -> Any:
    raise ValueError("no") from KeyError("why")


def skip(_params: Mapping[str, Any]) -> Any:
    raise SkipTask


@pytest.fixture
def fake() -> FakeAirflow:
    fake = FakeAirflow()
    fake.add_dag(FakeDag("add", params={"x": 1}, tasks=[FakeTask("one", lambda params: params["x"] + 1)]))
    fake.add_dag(FakeDag("held", tasks=[FakeTask("one", lambda _: 1)], checks=None))
    fake.add_dag(FakeDag("slow", tasks=[FakeTask("one", lambda _: 1)], seconds=60))
    return fake


@pytest.fixture
async def http(fake: FakeAirflow) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {fake.access.token()}"}
    async with httpx.AsyncClient(transport=fake.transport, base_url=f"{fake.url}/api/v2", headers=headers) as http:
        yield http


async def trigger(http: httpx.AsyncClient, dag_id: str, run_id: str = "r", **conf: Any) -> httpx.Response:
    body = {"logical_date": None, "dag_run_id": run_id, "conf": conf}
    return await http.post(f"/dags/{dag_id}/dagRuns", json=body)


async def states(http: httpx.AsyncClient, dag_id: str, count: int, run_id: str = "r") -> list[str]:
    return [(await http.get(f"/dags/{dag_id}/dagRuns/{run_id}")).json()["state"] for _ in range(count)]


async def test_run_advances_each_time_it_is_read(fake: FakeAirflow, http: httpx.AsyncClient) -> None:
    await trigger(http, "add", x=4)
    assert await states(http, "add", 3) == ["running", "success", "success"]
    assert [xcom.value for xcom in fake.run("r").xcoms] == [5]


async def test_run_with_seconds_advances_with_the_clock(fake: FakeAirflow, http: httpx.AsyncClient) -> None:
    await trigger(http, "slow")
    assert await states(http, "slow", 2) == ["running", "running"]
    await fake.clock.sleep(60)
    assert await states(http, "slow", 1) == ["success"]


async def test_run_without_checks_advances_when_a_test_says_so(fake: FakeAirflow, http: httpx.AsyncClient) -> None:
    await trigger(http, "held")
    assert await states(http, "held", 2) == ["queued", "queued"]
    async with asyncio.timeout(60), http.stream("GET", "/dags/held/dagRuns/r/wait", params={"interval": 1}) as answer:
        assert fake.open_streams == 1
        lines = answer.aiter_lines()
        assert await anext(lines) == '{"state": "queued"}'
        fake.start(fake.run("r"))
        assert await anext(lines) == '{"state": "running"}'
        fake.finish(fake.run("r"))
        assert [line async for line in lines] == ['{"state": "success"}']
    assert fake.open_streams == 0


async def test_paused_and_full_dags_leave_runs_queued(fake: FakeAirflow, http: httpx.AsyncClient) -> None:
    fake.dags["add"].max_active_runs = 1
    fake.dags["add"].checks = 2
    await trigger(http, "add", "first")
    await trigger(http, "add", "second")
    assert await states(http, "add", 1, "first") == ["running"]
    assert await states(http, "add", 3, "second") == ["queued", "queued", "queued"]
    assert await states(http, "add", 2, "first") == ["running", "success"]
    fake.dags["add"].is_paused = True
    assert await states(http, "add", 1, "second") == ["queued"]


@pytest.mark.parametrize(
    ("tasks", "state", "instances"),
    [
        pytest.param(
            [FakeTask("a", refuse, downstream=["b"], retries=2), FakeTask("b")],
            "failed",
            [("a", -1, "failed", 3), ("b", -1, "upstream_failed", 0)],
            id="failed",
        ),
        pytest.param(
            [FakeTask("a", refuse, downstream=["b"]), FakeTask("b", trigger_rule="all_done")],
            "success",
            [("a", -1, "failed", 1), ("b", -1, "success", 1)],
            id="failed and forgiven",
        ),
        pytest.param(
            [FakeTask("b"), FakeTask("a", skip, downstream=["b"])],
            "success",
            [("a", -1, "skipped", 1), ("b", -1, "skipped", 0)],
            id="skipped",
        ),
        pytest.param(
            [FakeTask("a", lambda _: [1, ValueError("no")], mapped=True)],
            "failed",
            [("a", 0, "success", 1), ("a", 1, "failed", 1)],
            id="mapped",
        ),
        pytest.param([], "success", [], id="no tasks"),
    ],
)
async def test_run_ends_according_to_its_tasks(
    fake: FakeAirflow,
    http: httpx.AsyncClient,
    tasks: list[FakeTask],
    state: str,
    instances: list[tuple[str, int, str, int]],
) -> None:
    fake.add_dag(FakeDag("d", tasks=tasks, checks=0))
    await trigger(http, "d")
    assert await states(http, "d", 1) == [state]
    found = (await http.get("/dags/d/dagRuns/r/taskInstances")).json()["task_instances"]
    assert [(i["task_id"], i["map_index"], i["state"], i["try_number"]) for i in found] == instances


async def test_failed_task_writes_its_exception_to_the_log(fake: FakeAirflow, http: httpx.AsyncClient) -> None:
    fake.add_dag(FakeDag("d", tasks=[FakeTask("a", refuse, log=["hello"], retries=1)], checks=0))
    await trigger(http, "d")
    await states(http, "d", 1)
    content = (await http.get("/dags/d/dagRuns/r/taskInstances/a/logs/2")).json()["content"]
    assert [event["event"] for event in content[-2:]] == ["hello", "Task failed with exception"]
    assert [(e["exc_type"], e["exc_value"]) for e in content[-1]["error_detail"]] == [
        ("ValueError", "no"),
        ("KeyError", "'why'"),
    ]


async def test_cleared_run_starts_again(fake: FakeAirflow, http: httpx.AsyncClient) -> None:
    await trigger(http, "add")
    await states(http, "add", 2)
    fake.clear(fake.run("r"))
    assert fake.run("r").xcoms == []
    assert await states(http, "add", 2) == ["running", "success"]


async def test_fault_can_apply_before_or_after_the_effect(fake: FakeAirflow, http: httpx.AsyncClient) -> None:
    fake.add_fault(Fault(route="trigger", error=httpx.ConnectError))
    fake.add_fault(Fault(route="trigger", error=httpx.ReadTimeout, after_effect=True))
    fake.add_fault(Fault(route="trigger", status=503, body="<h1>down</h1>"))
    with pytest.raises(httpx.ConnectError):
        await trigger(http, "add")
    assert fake.runs == []
    with pytest.raises(httpx.ReadTimeout):
        await trigger(http, "add")
    assert [run.run_id for run in fake.runs] == ["r"]
    answer = await trigger(http, "add")
    assert (answer.status_code, answer.text) == (503, "<h1>down</h1>")
    assert (await trigger(http, "add")).status_code == 409
    assert [request.status for request in fake.requests_to("trigger")] == [None, None, 503, 409]


async def test_requests_can_be_held_and_are_counted(fake: FakeAirflow, http: httpx.AsyncClient) -> None:
    hold = fake.hold("dag", times=None)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        asked = [group.create_task(http.get("/dags/add")) for _ in range(3)]
        await hold.arrived(3)
        assert fake.in_flight == 3
        hold.release()
    assert [task.result().status_code for task in asked] == [200, 200, 200]
    assert (fake.in_flight, fake.max_in_flight) == (0, 3)


@pytest.mark.parametrize(
    ("fault", "lines"),
    [
        pytest.param(Fault(route="wait", cut_after_lines=1), ['{"state": "running"}'], id="cut"),
        pytest.param(Fault(route="wait", cut_after_lines=0), [], id="cut at once"),
        pytest.param(
            Fault(route="wait", swallow_stream=True), ['{"state": "running"}', '{"state": "success"}'], id="swallowed"
        ),
    ],
)
async def test_stream_can_be_cut_or_swallowed(
    fake: FakeAirflow, http: httpx.AsyncClient, fault: Fault, lines: list[str]
) -> None:
    fake.add_fault(fault)
    await trigger(http, "add")
    async with http.stream("GET", "/dags/add/dagRuns/r/wait", params={"interval": 1}) as answer:
        assert [line async for line in answer.aiter_lines()] == lines


async def test_stream_can_break_with_an_error(fake: FakeAirflow, http: httpx.AsyncClient) -> None:
    fake.add_fault(Fault(route="wait", cut_after_lines=1, error=httpx.ReadError))
    await trigger(http, "add")
    async with http.stream("GET", "/dags/add/dagRuns/r/wait", params={"interval": 1}) as answer:
        lines = answer.aiter_lines()
        with pytest.raises(httpx.ReadError):
            assert [line async for line in lines]


async def test_user_can_be_limited_to_some_dags() -> None:
    fake = FakeAirflow(users=[FakeUser("agent", "secret", readable=frozenset({"mine"}))])
    fake.add_dag(FakeDag("mine"))
    fake.add_dag(FakeDag("theirs"))
    headers = {"Authorization": f"Bearer {fake.access.token('agent')}"}
    async with httpx.AsyncClient(transport=fake.transport, base_url=f"{fake.url}/api/v2", headers=headers) as http:
        assert [dag["dag_id"] for dag in (await http.get("/dags")).json()["dags"]] == ["mine"]
        assert (await http.get("/dags/theirs")).status_code == 403
        assert (await trigger(http, "theirs")).status_code == 403
        fake.access.revoke_tokens()
        assert (await http.get("/dags/mine")).json() == {"detail": "Invalid JWT token"}


async def test_fake_can_be_served_on_a_socket() -> None:
    fake = FakeAirflow(clock=WallClock())
    fake.add_dag(FakeDag("a b", tasks=[FakeTask("one", lambda _: "ü")], checks=1))
    with served(fake) as url:
        headers = {"Authorization": f"Bearer {fake.access.token()}"}
        async with httpx.AsyncClient(base_url=f"{url}/api/v2", headers=headers, trust_env=False, verify=PLAIN) as http:
            assert (await trigger(http, "a b")).status_code == 200
            path = "/dags/a%20b/dagRuns/r/wait"
            async with http.stream("GET", path, params={"interval": 0.01, "result": "one"}) as answer:
                lines = [line async for line in answer.aiter_lines()]
            fake.add_fault(Fault(route="dag", error=httpx.ReadError))
            with pytest.raises(httpx.TransportError):
                await http.get("/dags/a%20b")
    assert lines == ['{"state": "running"}', '{"state": "success", "results": {"one": "\\u00fc"}}']
