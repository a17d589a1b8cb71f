"""The tasks extension, from a client that exposes the wire format to the fake Airflow and back."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    ElicitResult,
)

from dagcall.app import Dagcall, assembled
from dagcall.mcp.elicitation import CLOSED, DECLINED, MAX_TRIES, UNFIT
from dagcall.mcp.task_protocol import Sealer
from dagcall.runs.hitl_forms import MAX_QUESTIONS
from dagcall.settings.settings import Settings
from tests.fake_airflow import FakeAirflow, FakeDag, FakeParam, FakeQuestion, FakeTask, Fault
from tests.server.test_calls import add, answer
from tests.support.in_memory import Served
from tests.support.task_client import TaskClient, Wire, task_client
from tests.support.virtual_time import LoopClock, VirtualTimeLoop

REPLICA: dict[str, Any] = {"server": {"secret": "s" * 32}, "dags": ["*"]}
STRANGER: dict[str, Any] = {"server": {"secret": "t" * 32}, "dags": ["*"]}


@pytest.fixture(autouse=True)
def look_and_answer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagcall.runs.task_watcher.FIRST_LOOK_SECONDS", 0.01)
    monkeypatch.setattr("dagcall.runs.hitl_replies.SETTLE_SECONDS", 0.0)


@asynccontextmanager
async def connected(dagcall: Dagcall, **more: Any) -> AsyncIterator[TaskClient]:
    async with asyncio.timeout(60), task_client(dagcall.mcp.sdk, **more) as client:
        yield client


def waits() -> FakeDag:
    """A dag whose runs end only when a test ends them."""
    return FakeDag("waits", tasks=[FakeTask("it", lambda _: 1)], checks=None)


async def never_asked(*_: object) -> ElicitResult:
    raise AssertionError("a task's questions are for `tasks/update`")


# A call that becomes a task


async def test_call_becomes_a_task_that_completes_with_the_calls_result(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow) as dagcall, connected(dagcall) as client:
        created = await client.call("add", {"x": 3})
        (run,) = airflow.runs
        done = await client.until(created["taskId"])

    assert created["resultType"] == "task"
    assert created["taskId"] == f"add.{run.run_id}"
    assert created["status"] == "working"
    assert created["statusMessage"].startswith("add: queued")
    assert created["pollIntervalMs"] >= 250
    assert not {"result", "error", "inputRequests"} & created.keys()
    assert done["resultType"] == "complete"
    assert (done["taskId"], done["status"], done["statusMessage"]) == (created["taskId"], "completed", "add: done")
    assert done["createdAt"] == created["createdAt"]
    assert done["lastUpdatedAt"] >= done["createdAt"]
    assert done["ttlMs"] is None
    assert done["result"]["structuredContent"] == {
        "state": "success",
        "dag_run_id": run.run_id,
        "results": {"total": 5},
        "url": f"http://airflow.test/dags/add/runs/{run.run_id}",
    }


async def test_only_a_request_that_declares_the_extension_gets_a_task(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    async with served(airflow) as dagcall:
        plain = await answer(dagcall, "add", x=3)
        async with connected(dagcall, mode="legacy") as client:
            old = await client.call("add", {"x": 4})
    assert plain["results"] == {"total": 5}
    assert old["structuredContent"]["results"] == {"total": 6}


async def test_call_with_wait_seconds_gets_a_result_instead_of_a_task(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(waits())
    async with served(airflow) as dagcall, connected(dagcall) as client:
        result = await client.call("waits", {}, {"dagcall/wait_seconds": 0})
    assert result["structuredContent"]["state"] == "running"


async def test_refused_call_is_a_task_whose_error_every_replica_knows(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    async with (
        served(airflow, **REPLICA) as one,
        served(airflow, **REPLICA) as other,
        connected(one) as creator,
        connected(other) as client,
    ):
        created = await creator.call("add", {"x": "three"})
        done = await client.get(created["taskId"])
        await client.cancel(created["taskId"])
        await client.update(created["taskId"], {"x": {"action": "accept"}})
        again = await creator.get(created["taskId"])
    text = "Nothing was started: invalid arguments for add.\n- x: 'three' is not of type 'integer'"
    assert (created["resultType"], created["status"]) == ("task", "working")
    assert created["statusMessage"] == "Nothing was started: invalid arguments for add."
    assert (done["resultType"], done["status"]) == ("complete", "completed")
    assert done["result"]["isError"] is True
    assert done["result"]["content"] == [{"type": "text", "text": text}]
    assert again["result"] == done["result"]
    assert again["createdAt"] == done["createdAt"] == done["lastUpdatedAt"]
    assert airflow.runs == []


async def test_task_without_a_run_is_private_and_cannot_be_forged(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    async with (
        served(airflow, **REPLICA) as one,
        served(airflow, **STRANGER) as other,
        connected(one) as creator,
        connected(other) as client,
    ):
        task_id = (await creator.call("add", {"x": "three"}))["taskId"]
        tool, kind, payload, seal = task_id.split(".")
        for wrong in (
            f"sub.{kind}.{payload}.{seal}",
            f"{tool}.{kind}.{payload[:-1]}.{seal}",
            f"{tool}.{kind}.é.é",
        ):
            with pytest.raises(MCPError) as refused:
                await creator.get(wrong)
            assert refused.value.error.code == INVALID_PARAMS
        with pytest.raises(MCPError) as refused:
            await client.get(task_id)
        assert refused.value.error.code == INVALID_PARAMS


async def test_refusals_by_airflow_and_during_shutdown_are_reported_in_a_task(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.add_fault(Fault(route="trigger", status=400, body={"detail": "No. " * 3000}, times=None))
    async with served(airflow) as dagcall, connected(dagcall) as client:
        refused = await client.get((await client.call("add", {"x": 3}))["taskId"])
        dagcall.mcp.begin_stop()
        stopping = await client.get((await client.call("add", {"x": 3}))["taskId"])
    assert refused["result"]["content"][0]["text"].startswith(
        "Nothing was started: Airflow refused to start dag add: No. "
    )
    assert stopping["result"]["content"][0]["text"].startswith("Nothing was started: dagcall is shutting down")


def test_task_id_of_a_long_error_is_short_enough_for_proxies() -> None:
    sealer = Sealer(b"k" * 32)
    text = "\n".join(secrets.token_hex(50) for _ in range(500))
    failure = sealer.sealed(text, tool="t" * 50, caller="c", at=datetime(2026, 1, 31, tzinfo=UTC))
    opened = sealer.opened(failure.task_id, caller="c")
    assert len(failure.task_id) < 3200
    assert opened == failure
    assert text.startswith(failure.text.removesuffix("…")[:1000])
    assert sealer.opened(failure.task_id, caller="d") is None


def test_lone_surrogate_in_an_error_is_replaced() -> None:
    sealer = Sealer(b"k" * 32)
    failure = sealer.sealed("no \ud800", tool="t", caller="c", at=datetime(2026, 1, 31, tzinfo=UTC))
    opened = sealer.opened(failure.task_id, caller="c")
    assert opened is not None
    assert opened.text == "no ?"
    assert sealer.opened("t.failed.\ud800.\ud800", caller="c") is None


async def test_the_extension_is_advertised(served: Served) -> None:
    async with served(FakeAirflow()) as dagcall, connected(dagcall) as client:
        capabilities = client.client.server_capabilities
    assert capabilities is not None
    assert capabilities.extensions == {"io.modelcontextprotocol/tasks": {}}


@pytest.mark.parametrize("key", [None, "order-7"])
async def test_retry_after_the_run_ended_gets_a_task_marked_as_replayed(served: Served, key: str | None) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add(checks=0))
    meta = {"dagcall/idempotency_key": key} if key else {}
    async with served(airflow, **REPLICA) as dagcall, connected(dagcall) as client:
        task = await client.call("add", {"x": 3}, meta)
    async with (
        served(airflow, **REPLICA) as second,
        served(airflow, **REPLICA) as third,
        connected(second) as client,
        connected(third) as also,
    ):
        again = await client.call("add", {"x": 3}, meta)
        done = await client.get(again["taskId"])
        elsewhere = await also.until(again["taskId"])
        plain = await also.until(task["taskId"])
    assert task["resultType"] == again["resultType"] == "task"
    assert again["taskId"] == f"{task['taskId']}.replayed"
    assert done["status"] == "completed"
    assert done["result"]["structuredContent"]["results"] == {"total": 5}
    assert done["result"]["structuredContent"]["replayed"] is True
    assert elsewhere["result"] == done["result"]
    assert "replayed" not in plain["result"]["structuredContent"]
    assert len(airflow.runs) == 1


async def test_outcome_is_delivered_only_when_its_task_is_polled(served: Served) -> None:
    """FastMCP's client only follows tasks: it treats a direct answer as an error and drops it."""
    airflow = FakeAirflow()
    airflow.add_dag(add(checks=0))
    async with served(airflow) as dagcall, connected(dagcall) as client:
        for _ in range(3):
            created = await client.call("add", {"x": 3})
            await asyncio.sleep(0.2)  # does not poll for longer than dagcall allows a new task
        assert len(airflow.runs) == 1
        done = await client.until(created["taskId"])
        await client.call("add", {"x": 3})
    assert done["result"]["structuredContent"]["results"] == {"total": 5}
    assert len(airflow.runs) == 2


async def test_run_that_failed_earlier_is_reported_in_a_task(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("d", tasks=[FakeTask("explode", lambda _: 1 / 0)], checks=0))
    async with served(airflow, **REPLICA) as dagcall, connected(dagcall) as client:
        await client.call("d")
    async with served(airflow, **REPLICA) as another, connected(another) as client:
        created = await client.call("d")
        done = await client.get(created["taskId"])
    assert created["resultType"] == "task"
    assert done["result"]["isError"] is True
    assert len(airflow.runs) == 1


async def test_reused_result_is_marked_in_a_task(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    async with served(airflow, tools=[{"dag": "add", "reuse_seconds": 60}]) as dagcall, connected(dagcall) as client:
        await client.until((await client.call("add", {"x": 3}))["taskId"])
        done = await client.until((await client.call("add", {"x": 3}))["taskId"])
    assert done["result"]["structuredContent"]["reused"] is True
    assert len(airflow.runs) == 1


# Polling


async def test_every_replica_knows_every_task(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(waits())
    async with (
        served(airflow, **REPLICA) as one,
        served(airflow, **REPLICA) as other,
        connected(one) as creator,
        connected(other) as client,
    ):
        created = await creator.call("waits")
        working = await client.get(created["taskId"])
        airflow.finish(airflow.runs[0])
        done = await client.until(created["taskId"])
        also = await creator.until(created["taskId"])
    assert working["status"] == "working"
    assert done["result"] == also["result"]
    assert done["result"]["structuredContent"]["results"] == {"it": 1}


async def test_frequent_polls_do_not_load_airflow(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagcall.runs.task_watcher.FIRST_LOOK_SECONDS", 1000.0)
    airflow = FakeAirflow()
    airflow.add_dag(waits())
    async with served(airflow) as dagcall, connected(dagcall) as client:
        created = await client.call("waits")
        await client.get(created["taskId"])
        before = len(airflow.requests)
        for _ in range(50):
            assert (await client.get(created["taskId"]))["status"] == "working"
        assert len(airflow.requests) - before <= 1


async def test_task_reports_progress(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("d", tasks=[FakeTask("first", downstream=["second"]), FakeTask("second")], checks=None))
    async with served(airflow) as dagcall, connected(dagcall) as client:
        created = await client.call("d")
        airflow.start(airflow.runs[0])
        while "tasks done" not in (task := await client.get(created["taskId"]))["statusMessage"]:
            pass
    assert task["statusMessage"].startswith("d: running: 0 of 2 tasks done")


async def test_failed_run_completes_its_task_with_an_error(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("d", tasks=[FakeTask("explode", lambda _: 1 / 0)]))
    async with served(airflow) as dagcall, connected(dagcall) as client:
        created = await client.call("d")
        done = await client.until(created["taskId"])
    assert done["status"] == "completed"
    assert done["statusMessage"] == "d: failed"
    assert done["result"]["isError"] is True
    assert "Task explode failed on try 1 of 1: ZeroDivisionError" in done["result"]["content"][0]["text"]
    assert "error" not in done


async def test_deleted_run_completes_its_task_with_an_error(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(waits())
    async with served(airflow) as dagcall, connected(dagcall) as client:
        created = await client.call("waits")
        await client.get(created["taskId"])
        airflow.delete(airflow.runs[0])
        done = await client.until(created["taskId"])
    assert done["result"]["isError"] is True
    assert "deleted" in done["result"]["content"][0]["text"]


async def test_task_stays_working_while_airflow_refuses_to_show_the_outcome(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    async with served(airflow) as dagcall, connected(dagcall) as client:
        created = await client.call("add", {"x": 3})
        airflow.add_fault(Fault(status=403, times=None))
        while "this run id to get its outcome" not in (task := await client.get(created["taskId"]))["statusMessage"]:
            pass
        with pytest.raises(MCPError) as refused:
            await client.get(created["taskId"])
        airflow.clear_faults()
        done = await client.until(created["taskId"])
    assert task["status"] == "working"
    assert refused.value.error.code == INTERNAL_ERROR
    assert done["result"]["structuredContent"]["results"] == {"total": 5}


# Access


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_task_request_must_declare_the_extension(served: Served, method: str) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(waits())
    async with served(airflow) as dagcall, connected(dagcall) as client:
        created = await client.call("waits")
        async with Client(dagcall.mcp.sdk) as plain:
            with pytest.raises(MCPError) as refused:
                await TaskClient(plain).send(method, created["taskId"], {})
    assert refused.value.error.code == MISSING_REQUIRED_CLIENT_CAPABILITY
    assert refused.value.error.data == {"requiredCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}}


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_task_of_another_caller_is_not_found(served: Served, method: str) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(waits())
    async with (
        served(airflow, **REPLICA) as one,
        served(airflow, **STRANGER) as other,
        connected(one) as creator,
        connected(other) as client,
    ):
        created = await creator.call("waits")
        for task_id in (created["taskId"], "waits.mcp__x", "waits", "", f"other.{airflow.runs[0].run_id}"):
            with pytest.raises(MCPError) as refused:
                await client.send(method, task_id, {})
            assert refused.value.error.code == INVALID_PARAMS
            assert refused.value.error.message == f"There is no task {task_id!r} that you have started."
    assert airflow.runs[0].state == "queued"


# Cancelling


async def test_a_cancelled_task_is_cancelled_on_every_replica(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(waits())
    async with (
        served(airflow, **REPLICA) as one,
        served(airflow, **REPLICA) as other,
        connected(one) as creator,
        connected(other) as client,
    ):
        created = await creator.call("waits")
        await creator.get(created["taskId"])
        await client.get(created["taskId"])
        acknowledged = await client.cancel(created["taskId"])
        states = [await each.until(created["taskId"]) for each in (client, creator)]
        again = await client.call("waits")
    assert {key: value for key, value in acknowledged.items() if key != "_meta"} == {"resultType": "complete"}
    assert [state["status"] for state in states] == ["cancelled", "cancelled"]
    assert "What its tasks had already done is not undone" in states[0]["statusMessage"]
    assert "result" not in states[0]
    assert airflow.runs[0].state == "failed"
    assert (airflow.runs[0].note or "").endswith("(cancelled)")
    assert again["taskId"] != created["taskId"]


async def test_completed_task_cannot_be_cancelled(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    async with served(airflow) as dagcall, connected(dagcall) as client:
        created = await client.call("add", {"x": 3})
        await client.until(created["taskId"])
        await client.cancel(created["taskId"])
        done = await client.get(created["taskId"])
    assert done["status"] == "completed"
    assert done["result"]["structuredContent"]["results"] == {"total": 5}


# Questions to people


def asks(*questions: FakeQuestion) -> FakeDag:
    tasks = [FakeTask(f"ask_{number}", question=question) for number, question in enumerate(questions, 1)]
    return FakeDag("asks", tasks=tasks)


def accepts(**content: Any) -> Wire:
    return {"action": "accept", "content": content}


DECLINE: Wire = {"action": "decline"}


async def settled(client: TaskClient, task_id: str) -> Wire:
    """Return the task once it requires input or is completed."""
    return await client.until(task_id, "input_required", "completed")


async def test_task_requests_input_and_continues_after_the_answer(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(FakeQuestion("Refund?", params={"amount": FakeParam(180, type="integer", minimum=1)})))
    async with served(airflow) as dagcall, connected(dagcall, elicitation_callback=never_asked) as client:
        created = await client.call("asks")
        asking = await client.until(created["taskId"], "input_required")
        ((key, request),) = asking["inputRequests"].items()
        acknowledged = await client.update(created["taskId"], {key: accepts(answer="Approve", amount=70)})
        done = await client.until(created["taskId"])
    assert asking["statusMessage"] == "asks: waiting for a person to answer: ask_1"
    assert asking["pollIntervalMs"] == 5000
    assert request["method"] == "elicitation/create"
    assert "Refund?" in request["params"]["message"]
    assert request["params"]["requestedSchema"]["properties"]["answer"]["enum"] == ["Approve", "Reject"]
    assert {name: value for name, value in acknowledged.items() if name != "_meta"} == {"resultType": "complete"}
    assert done["result"]["structuredContent"]["results"]["ask_1"]["params_input"] == {"amount": 70}
    assert "Answered through MCP by mcp" in (airflow.runs[0].note or "")


async def test_two_questions_can_be_answered_one_by_one_on_any_replica(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(FakeQuestion("One?"), FakeQuestion("Two?")))
    async with (
        served(airflow, **REPLICA) as one,
        served(airflow, **REPLICA) as other,
        connected(one, elicitation_callback=never_asked) as creator,
        connected(other, elicitation_callback=never_asked) as client,
    ):
        created = await creator.call("asks")
        asking = await creator.until(created["taskId"], "input_required")
        first, second = asking["inputRequests"]
        await client.update(created["taskId"], {first: accepts(answer="Approve"), "never asked": "nonsense"})
        left = await client.until(created["taskId"], "input_required")
        also = await creator.get(created["taskId"])
        await creator.update(created["taskId"], {first: accepts(answer="Reject"), second: accepts(answer="Reject")})
        done = await creator.until(created["taskId"])
    assert list(left["inputRequests"]) == [second]
    assert list(also["inputRequests"]) == [second]
    results = done["result"]["structuredContent"]["results"]
    assert [results[name]["chosen_options"] for name in ("ask_1", "ask_2")] == [["Approve"], ["Reject"]]


async def test_an_invalid_answer_is_requested_again_under_another_key(served: Served) -> None:
    """Clients answer each key once."""
    airflow = FakeAirflow()
    airflow.add_dag(asks(FakeQuestion("Refund?", params={"amount": FakeParam(180, type="integer", minimum=1)})))
    async with served(airflow) as dagcall, connected(dagcall, elicitation_callback=never_asked) as client:
        created = await client.call("asks")
        asking = await client.until(created["taskId"], "input_required")
        (key,) = asking["inputRequests"]
        await client.update(created["taskId"], {key: accepts(answer="Approve", amount=0)})
        asked_again = await client.get(created["taskId"])
        ((new_key, request),) = asked_again["inputRequests"].items()
        await client.update(created["taskId"], {new_key: accepts(answer="Approve", amount=1)})
        done = await client.until(created["taskId"])
    assert new_key != key
    assert request["params"]["message"].startswith("Your answer was not accepted:\n- amount")
    assert done["result"]["structuredContent"]["results"]["ask_1"]["params_input"] == {"amount": 1}


async def test_task_limits_simultaneous_questions(served: Served) -> None:
    airflow = FakeAirflow()
    tasks = [FakeTask("ask", question=FakeQuestion("Seen?", options=["OK"]), mapped=MAX_QUESTIONS + 3)]
    airflow.add_dag(FakeDag("asks", tasks=tasks))
    async with served(airflow) as dagcall, connected(dagcall, elicitation_callback=never_asked) as client:
        created = await client.call("asks")
        asking = await client.until(created["taskId"], "input_required")
        answers = {key: accepts() for key in asking["inputRequests"]}
        await client.update(created["taskId"], answers)
        rest = await client.get(created["taskId"])
        await client.update(created["taskId"], {key: accepts() for key in rest["inputRequests"]})
        done = await client.until(created["taskId"])
    assert len(asking["inputRequests"]) == MAX_QUESTIONS
    assert asking["statusMessage"].count("ask[") == MAX_QUESTIONS
    assert len(rest["inputRequests"]) == 3
    assert not rest["inputRequests"].keys() & asking["inputRequests"].keys()
    assert len(done["result"]["structuredContent"]["results"]["ask"]) == MAX_QUESTIONS + 3


@pytest.mark.parametrize("names", [["mia"], ["admin"]])
async def test_task_asks_only_if_dagcalls_account_may_answer(served: Served, names: list[str]) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(FakeQuestion("Refund?", assigned_users=names)))
    async with served(airflow) as dagcall, connected(dagcall, elicitation_callback=never_asked) as client:
        created = await client.call("asks")
        task = await client.until(created["taskId"], "input_required", "completed")
    assert ("inputRequests" in task) == (names == ["admin"])


@pytest.mark.parametrize(
    ("response", "notice"),
    [
        ({"action": "decline"}, "Your user declined to answer"),
        ({"action": "cancel"}, "Your user closed the question without an answer"),
        ({"action": "shrug"}, "Your user closed the question without an answer"),
    ],
)
async def test_a_person_who_declines_is_not_asked_again(served: Served, response: Wire, notice: str) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(FakeQuestion("Refund?")))
    async with served(airflow) as dagcall, connected(dagcall, elicitation_callback=never_asked) as client:
        created = await client.call("asks")
        asking = await client.until(created["taskId"], "input_required")
        await client.update(created["taskId"], dict.fromkeys(asking["inputRequests"], response))
        done = await client.get(created["taskId"])
    assert done["status"] == "completed"
    assert done["statusMessage"] == "asks: waiting for a person"
    assert done["result"]["structuredContent"]["state"] == "awaiting_input"
    assert done["result"]["structuredContent"]["message"].startswith(notice)


@pytest.mark.parametrize(
    ("response", "notice", "noted"),
    [
        ({"action": "decline"}, DECLINED, "Declined through MCP by mcp 0.1.0: ask_1 (declined "),
        ({"action": "cancel"}, CLOSED, "Closed through MCP without an answer by mcp 0.1.0: ask_1 (closed "),
    ],
)
async def test_declined_question_is_not_repeated_by_any_replica_or_after_a_restart(
    served: Served, response: Wire, notice: str, noted: str
) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(FakeQuestion("Refund?")))
    async with (
        served(airflow, **REPLICA) as one,
        served(airflow, **REPLICA) as other,
        connected(one, elicitation_callback=never_asked) as creator,
        connected(other, elicitation_callback=never_asked) as client,
    ):
        created = await creator.call("asks")
        asking = await creator.until(created["taskId"], "input_required")
        airflow.runs[0].note = f"{airflow.runs[0].note} Jane looks into it, see OPS-17."
        before = airflow.runs[0].note
        await client.update(created["taskId"], dict.fromkeys(asking["inputRequests"], response))
        found = [await settled(each, created["taskId"]) for each in (creator, client)]
    async with (
        served(airflow, **REPLICA) as restarted,
        connected(restarted, elicitation_callback=never_asked) as client,
    ):
        found.append(await settled(client, created["taskId"]))
    assert [task["status"] for task in found] == ["completed"] * 3
    for task in found:
        assert task["result"]["structuredContent"]["message"].startswith(notice)
    note = airflow.runs[0].note or ""
    assert note.startswith(f"{before} {noted}")


async def test_cleared_task_instance_asks_a_new_question(served: Served) -> None:
    """The decline of the old question no longer counts."""
    airflow = FakeAirflow()
    airflow.add_dag(asks(FakeQuestion("Refund?")))
    async with served(airflow) as dagcall, connected(dagcall, elicitation_callback=never_asked) as client:
        created = await client.call("asks")
        asking = await client.until(created["taskId"], "input_required")
        await client.update(created["taskId"], dict.fromkeys(asking["inputRequests"], DECLINE))
        declined = await client.get(created["taskId"])
        (instance,) = airflow.runs[0].task_instances
        assert instance.asking is not None
        instance.asking.at += timedelta(minutes=1)
        asked_again = await client.get(created["taskId"])
    assert declined["status"] == "completed"
    assert asked_again["status"] == "input_required"
    assert not asked_again["inputRequests"].keys() & asking["inputRequests"].keys()


@pytest.mark.parametrize("trouble", ["no right", "no room"])
async def test_decline_that_cannot_be_noted_is_remembered_by_its_replica(served: Served, trouble: str) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(FakeQuestion("Refund?")))
    async with served(airflow) as dagcall, connected(dagcall, elicitation_callback=never_asked) as client:
        created = await client.call("asks")
        asking = await client.until(created["taskId"], "input_required")
        if trouble == "no right":
            airflow.add_fault(Fault(route="patch_run", status=403, times=None))
        else:
            airflow.runs[0].note = f"{airflow.runs[0].note}{'x' * 900}"[:1000]
        before = airflow.runs[0].note
        await client.update(created["taskId"], dict.fromkeys(asking["inputRequests"], DECLINE))
        done = await client.get(created["taskId"])
    assert done["result"]["structuredContent"]["message"].startswith(DECLINED)
    assert airflow.runs[0].note == before


async def test_nearly_full_note_gets_only_the_mark(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(FakeQuestion("Refund?")))
    async with served(airflow) as dagcall, connected(dagcall, elicitation_callback=never_asked) as client:
        created = await client.call("asks")
        asking = await client.until(created["taskId"], "input_required")
        airflow.runs[0].note = "x" * 950
        await client.update(created["taskId"], dict.fromkeys(asking["inputRequests"], DECLINE))
    assert (airflow.runs[0].note or "").startswith(f"{'x' * 950} (declined ")


async def test_replicas_request_an_invalid_answer_again_under_the_same_new_key(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(FakeQuestion("Refund?", params={"amount": FakeParam(180, type="integer", minimum=1)})))
    wrong = accepts(answer="Approve", amount=0)
    async with (
        served(airflow, **REPLICA) as one,
        served(airflow, **REPLICA) as other,
        connected(one, elicitation_callback=never_asked) as creator,
        connected(other, elicitation_callback=never_asked) as client,
    ):
        created = await creator.call("asks")
        seen: list[str] = []
        for _ in range(MAX_TRIES):
            ((key, _),) = (await creator.until(created["taskId"], "input_required"))["inputRequests"].items()
            seen.append(key)
            await client.update(created["taskId"], {key: wrong})
            here, there = [await settled(each, created["taskId"]) for each in (creator, client)]
            assert here.get("inputRequests", {}).keys() == there.get("inputRequests", {}).keys()
    assert len(set(seen)) == MAX_TRIES
    assert here["result"]["structuredContent"]["message"].startswith(UNFIT)
    assert here["result"] == there["result"]


async def test_every_replica_reports_an_invalid_answer(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(FakeQuestion("Refund?", params={"amount": FakeParam(180, type="integer", minimum=1)})))
    async with (
        served(airflow, **REPLICA) as one,
        served(airflow, **REPLICA) as other,
        connected(one, elicitation_callback=never_asked) as creator,
        connected(other, elicitation_callback=never_asked) as client,
    ):
        created = await creator.call("asks")
        ((key, _),) = (await creator.until(created["taskId"], "input_required"))["inputRequests"].items()
        await client.update(created["taskId"], {key: accepts(answer="Approve", amount=0)})
        ((_, here),) = (await settled(creator, created["taskId"]))["inputRequests"].items()
        ((_, there),) = (await settled(client, created["taskId"]))["inputRequests"].items()
    assert there["params"]["message"].startswith(
        "Your answer was not accepted:\n- amount: 0 is less than the minimum of 1"
    )
    assert here["params"]["message"].startswith("Your answer was not accepted:\n- it is invalid for the question")


async def test_answer_refused_by_airflow_is_not_requested_again_by_any_replica(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(FakeQuestion("Refund?")))
    airflow.add_fault(Fault(route="respond", status=403, times=None))
    async with (
        served(airflow, **REPLICA) as one,
        served(airflow, **REPLICA) as other,
        connected(one, elicitation_callback=never_asked) as creator,
        connected(other, elicitation_callback=never_asked) as client,
    ):
        created = await creator.call("asks")
        asking = await creator.until(created["taskId"], "input_required")
        await client.update(created["taskId"], dict.fromkeys(asking["inputRequests"], accepts(answer="Approve")))
        found = [await settled(each, created["taskId"]) for each in (creator, client)]
    for task in found:
        message = task["result"]["structuredContent"]["message"]
        assert message.startswith("Airflow does not accept the answer from dagcall's account.")


async def test_task_of_a_client_without_elicitation_completes_with_the_question(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(FakeQuestion("Refund?")))
    async with served(airflow) as dagcall, connected(dagcall) as client:
        created = await client.call("asks")
        done = await client.until(created["taskId"])
    assert done["result"]["structuredContent"]["state"] == "awaiting_input"
    assert done["result"]["structuredContent"]["questions"][0]["subject"] == "Refund?"


# Whether a client still polls, in virtual time


def in_virtual_time(scenario: Any) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        airflow = FakeAirflow(clock=LoopClock(loop))
        airflow.add_dag(FakeDag("slow", tasks=[FakeTask("it", lambda _: 1)], seconds=60.0))
        settings = Settings.model_validate(
            {
                "airflow": {"url": airflow.url, "username": "admin", "password": "admin"},
                "tools": [{"dag": "slow", "on_cancel": "fail"}],
            }
        )
        async with (
            assembled(settings, wait_seconds=5, transport=airflow.transport, wall_clock=airflow.clock.now) as dagcall,
        ):
            await dagcall.catalog.refresh()
            async with task_client(dagcall.mcp.sdk) as client:
                await scenario(airflow, client)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(run())


def test_tasks_created_together_have_separate_runs() -> None:
    async def scenario(airflow: FakeAirflow, client: TaskClient) -> None:
        tasks = await asyncio.gather(client.call("slow"), client.call("slow"))
        assert len({task["taskId"] for task in tasks}) == len(airflow.runs) == 2

    in_virtual_time(scenario)


def test_later_task_shares_a_run_that_is_still_polled() -> None:
    async def scenario(airflow: FakeAirflow, client: TaskClient) -> None:
        first = await client.call("slow")
        for task in [await client.get(first["taskId"])] * 10:
            await asyncio.sleep(task["pollIntervalMs"] / 1000)
            await client.get(first["taskId"])
        second = await client.call("slow")
        assert second["taskId"] == f"{first['taskId']}.shared"
        await asyncio.sleep(60)
        done = await client.until(second["taskId"])
        assert done["result"]["structuredContent"]["shared"] is True
        assert len(airflow.runs) == 1

    in_virtual_time(scenario)


def test_run_that_is_no_longer_polled_is_adopted() -> None:
    async def scenario(airflow: FakeAirflow, client: TaskClient) -> None:
        first = await client.call("slow")
        await client.get(first["taskId"])
        await asyncio.sleep(10)
        second = await client.call("slow")
        assert second["taskId"] == first["taskId"]
        await asyncio.sleep(60)
        done = await client.until(second["taskId"])
        assert done["result"]["structuredContent"]["results"] == {"it": 1}
        assert len(airflow.runs) == 1

    in_virtual_time(scenario)


def test_poll_interval_grows_with_the_age_of_the_run() -> None:
    async def scenario(_: FakeAirflow, client: TaskClient) -> None:
        task = await client.call("slow")
        assert task["pollIntervalMs"] == 250
        await asyncio.sleep(40)
        assert (await client.get(task["taskId"]))["pollIntervalMs"] == pytest.approx(2000, abs=50)

    in_virtual_time(scenario)


def test_abandoned_task_does_not_set_its_run_to_failed() -> None:
    """Even if `on_cancel` sets the run of an abandoned plain call to failed."""

    async def scenario(airflow: FakeAirflow, client: TaskClient) -> None:
        task = await client.call("slow")
        await asyncio.sleep(50)
        assert airflow.runs[0].state == "running"
        await asyncio.sleep(20)
        assert (await client.until(task["taskId"]))["status"] == "completed"

    in_virtual_time(scenario)
