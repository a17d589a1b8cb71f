"""Runs that ask a person, from the SDK's client to the fake Airflow and back, in both protocol eras."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp.client.context import ClientRequestContext
from mcp.shared.message import SessionMessage
from mcp_types import (
    CallToolResult,
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitResult,
    ErrorData,
    InputRequiredResult,
)
from mcp_types.jsonrpc import jsonrpc_message_adapter

from dagcall.app import Dagcall
from dagcall.tools.tool import WAIT_TOOL_NAME, own_tools
from tests.fake_airflow import FakeAirflow, FakeDag, FakeParam, FakeQuestion, FakeTask, Fault, Version
from tests.fake_airflow.runs import FakeResponse
from tests.server.test_calls import VERSIONS, Mode, answer, text_of, until
from tests.support.in_memory import Served

ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
REFUND = FakeQuestion(
    "Refund?", body="Order A7", defaults=["Reject"], params={"amount": FakeParam(180, type="integer", minimum=1)}
)


@pytest.fixture(autouse=True)
def look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagcall.runs.task_watcher.FIRST_LOOK_SECONDS", 0.01)
    monkeypatch.setattr("dagcall.mcp.elicitation.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("dagcall.runs.hitl_replies.SETTLE_SECONDS", 0.0)


class Person:
    """Sits behind the client, and answers what it is asked in turn."""

    def __init__(self, *answers: ElicitResult | ErrorData | None) -> None:
        self.asked: list[ElicitRequestFormParams] = []
        self._answers = list(answers)

    async def __call__(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult | ErrorData:  # noqa: ARG002 - the SDK names it
        assert isinstance(params, ElicitRequestFormParams)
        self.asked.append(params)
        given = self._answers.pop(0)
        if given is None:
            await asyncio.Event().wait()
        assert given is not None
        return given


def accepts(**content: Any) -> ElicitResult:
    return ElicitResult(action="accept", content=content)


DECLINES = ElicitResult(action="decline")


def asks(question: FakeQuestion = REFUND, **more: Any) -> FakeDag:
    return FakeDag("refund", tasks=[FakeTask("approve", question=question, **more)])


async def call(dagcall: Dagcall, mode: Mode, person: Person | None, **more: Any) -> CallToolResult:
    async with (
        asyncio.timeout(60),
        Client(dagcall.mcp.sdk, mode=mode, elicitation_callback=person) as client,
    ):
        return await client.call_tool("refund", {}, **more)


async def content_of(dagcall: Dagcall, mode: Mode, person: Person | None, **more: Any) -> dict[str, Any]:
    result = await call(dagcall, mode, person, **more)
    assert not result.is_error, text_of(result)
    assert isinstance(result.structured_content, dict)
    return result.structured_content


def notice_in(content: dict[str, Any]) -> str:
    assert content["state"] == "awaiting_input"
    notice, found, _ = content["message"].partition(" The run waits for a person")
    assert found
    return str(notice)


@ERAS
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_person_answers_and_the_call_goes_on(served: Served, version: Version, mode: Mode) -> None:
    airflow = FakeAirflow(version)
    airflow.add_dag(asks())
    person = Person(accepts(answer="Approve", amount=120))

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, person)

    (run,) = airflow.runs
    assert content["state"] == "success"
    assert content["results"]["approve"]["chosen_options"] == ["Approve"]
    assert content["results"]["approve"]["params_input"] == {"amount": 120}
    (asked,) = person.asked
    assert asked.message == (
        f"The Airflow dag refund waits for a person (task approve of run {run.run_id}).\n\nRefund?\n\nOrder A7"
    )
    assert asked.requested_schema["properties"] == {
        "answer": {"type": "string", "title": "Answer", "enum": ["Approve", "Reject"], "default": "Reject"},
        "amount": {"type": "integer", "minimum": 1, "default": 180},
    }
    assert "] Answered through MCP by mcp 0.1.0: approve." in (run.note or "")


@ERAS
async def test_several_questions_at_once(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow()
    tasks = [
        FakeTask("approve", question=REFUND, mapped=2, downstream=["then"]),
        FakeTask("check", question=FakeQuestion("Seen?", options=["OK"]), downstream=["then"]),
        FakeTask("then", lambda _: "done"),
    ]
    airflow.add_dag(FakeDag("refund", tasks=tasks))
    person = Person(accepts(answer="Approve", amount=1), accepts(answer="Approve", amount=1), accepts())

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, person)

    assert content["results"] == {"then": "done"}
    assert {asked.message.partition("(task ")[2].partition(" ")[0] for asked in person.asked} == {
        "approve[0]",
        "approve[1]",
        "check",
    }


@ERAS
async def test_one_question_after_the_other(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow()
    tasks = [FakeTask("first", question=REFUND, downstream=["second"]), FakeTask("second", question=REFUND)]
    airflow.add_dag(FakeDag("refund", tasks=tasks))
    person = Person(accepts(answer="Approve", amount=1), accepts(answer="Reject", amount=2))

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, person)

    assert content["results"]["second"]["chosen_options"] == ["Reject"]
    assert len(person.asked) == 2


@ERAS
async def test_an_answer_that_does_not_fit_is_asked_for_again(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow("3.1.8")  # which would take it
    airflow.add_dag(asks())
    person = Person(accepts(answer="Approve", amount=0), accepts(answer="Approve", amount=1))

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, person)

    assert content["results"]["approve"]["params_input"] == {"amount": 1}
    assert person.asked[1].message.startswith(
        "Your answer was not accepted:\n- amount: 0 is less than the minimum of 1\n\nThe Airflow dag refund waits"
    )
    assert len(airflow.requests_to("respond")) == 1


async def test_what_airflow_finds_wrong_is_asked_for_again(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())
    airflow.add_fault(Fault(route="respond", status=400, body={"detail": "Not today."}))
    person = Person(*[accepts(answer="Approve", amount=1)] * 2)

    async with served(airflow) as dagcall:
        await content_of(dagcall, "auto", person)

    assert person.asked[1].message.startswith("Your answer was not accepted:\n- Not today.\n")


@pytest.mark.virtual_time
async def test_nobody_is_asked_without_end(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, "legacy", Person(*[accepts(answer="Maybe")] * 5))

    assert notice_in(content) == "The answers given here are invalid for the question."


@ERAS
@pytest.mark.parametrize(
    ("reply", "notice"),
    [
        pytest.param(DECLINES, "Your user declined to answer; no answer was sent to Airflow.", id="declines"),
        pytest.param(
            ElicitResult(action="cancel"),
            "Your user closed the question without an answer; no answer was sent to Airflow.",
            id="closes the form",
        ),
    ],
)
async def test_nobody_answers_for_a_person_who_does_not(
    served: Served, mode: Mode, reply: ElicitResult, notice: str
) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, Person(reply))

    assert notice_in(content) == notice
    assert content["questions"][0]["url"].endswith("/tasks/approve/required_actions")
    assert not airflow.requests_to("respond")
    assert airflow.runs[0].state == "running"


@ERAS
async def test_one_of_two_questions_is_declined(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(mapped=2))

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, Person(accepts(answer="Approve", amount=1), DECLINES))

    assert notice_in(content).startswith("Your user declined")
    assert [question["map_index"] for question in content["questions"]] == [1]


@ERAS
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_that_cannot_ask_gets_the_question(served: Served, version: Version, mode: Mode) -> None:
    airflow = FakeAirflow(version)
    airflow.add_dag(asks(replace(REFUND, assigned_users=["mia"])))

    async with served(airflow) as dagcall:
        content = await answer(dagcall, "refund", mode)

    (run,) = airflow.runs
    url = f"http://airflow.test/dags/refund/runs/{run.run_id}"
    assert content == {
        "state": "awaiting_input",
        "dag_run_id": run.run_id,
        "questions": [
            {
                "task_id": "approve",
                "subject": "Refund?",
                "body": "Order A7",
                "options": ["Approve", "Reject"],
                "defaults": ["Reject"],
                "fields": {"amount": {"type": "integer", "minimum": 1, "default": 180}},
                "assigned_users": ["mia"],
                "url": f"{url}/tasks/approve/required_actions",
            }
        ],
        "message": (
            "The run waits for a person to answer a question in Airflow. Only mia may answer. Give your user the url "
            "of the question, and do not answer it yourself. Then call wait_for_dag_run with tool 'refund' and this "
            "dag_run_id for its result."
        ),
        "url": url,
    }


async def wait_for(dagcall: Dagcall, run_id: str, person: Person | None = None) -> dict[str, Any]:
    async with asyncio.timeout(60), Client(dagcall.mcp.sdk, elicitation_callback=person) as client:
        arguments = {"tool": "refund", "dag_run_id": run_id}
        result = await client.call_tool("wait_for_dag_run", arguments)
    assert isinstance(result.structured_content, dict)
    return result.structured_content


def reject_in_airflow(airflow: FakeAirflow) -> None:
    """Do what a person does in Airflow's UI."""
    (run,) = airflow.runs
    (instance,) = run.instances_of("approve")
    assert instance.asking is not None
    instance.asking.response = FakeResponse(["Reject"], {"amount": 180}, "mia", airflow.clock.now())
    instance.state = "scheduled"
    run.set_state(run.state, airflow.clock.now())


async def test_who_cannot_ask_waits_until_somebody_has_answered_in_airflow(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())

    async with served(airflow) as dagcall:
        content = await answer(dagcall, "refund")
        waiting = asyncio.create_task(wait_for(dagcall, content["dag_run_id"]))
        seen = len(airflow.requests_to("hitl_details"))
        await until(lambda: len(airflow.requests_to("hitl_details")) > seen + 1)
        assert not waiting.done()
        reject_in_airflow(airflow)
        content = await waiting

    assert content["state"] == "success"
    assert content["results"]["approve"]["responded_by_user"]["name"] == "mia"


async def test_who_has_waited_long_enough_gets_the_question_again(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())

    async with served(airflow) as dagcall:
        content = await answer(dagcall, "refund")
        waiting = asyncio.create_task(wait_for(dagcall, content["dag_run_id"]))
        seen = len(airflow.requests_to("hitl_details"))
        await until(lambda: len(airflow.requests_to("hitl_details")) > seen + 1)
        dagcall.runs.drain()
        again = await waiting

    assert again == content


async def test_waiting_again_asks_again(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, "auto", Person(DECLINES))
        content = await wait_for(dagcall, content["dag_run_id"], Person(accepts(answer="Approve", amount=3)))

    assert content["results"]["approve"]["params_input"] == {"amount": 3}


@ERAS
async def test_somebody_was_faster_in_airflow(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())

    class Slow(Person):
        async def __call__(
            self, context: ClientRequestContext, params: ElicitRequestParams
        ) -> ElicitResult | ErrorData:
            reject_in_airflow(airflow)
            return await super().__call__(context, params)

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, Slow(accepts(answer="Approve", amount=1)))

    assert content["results"]["approve"]["chosen_options"] == ["Reject"]
    assert "Answered through MCP" not in (airflow.runs[0].note or "")


async def test_a_question_answered_in_airflow_is_taken_from_the_screen(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())
    person = Person(None)

    async with served(airflow) as dagcall:
        calling = asyncio.create_task(content_of(dagcall, "legacy", person))
        await until(lambda: len(person.asked) == 1)
        reject_in_airflow(airflow)
        content = await calling

    assert content["results"]["approve"]["chosen_options"] == ["Reject"]


@pytest.mark.virtual_time
async def test_nobody_answers_in_time(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())

    async with served(airflow, wait_seconds=1.5) as dagcall:
        content = await content_of(dagcall, "legacy", Person(None))

    assert notice_in(content) == ("Your user was asked, but did not answer within this call's time limit.")


@ERAS
async def test_only_assigned_users_may_answer(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(replace(REFUND, assigned_users=["mia", "joe"])))
    person = Person()

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, person)

    assert person.asked == []
    assert content["message"].startswith(
        "The run waits for a person to answer a question in Airflow. Only mia or joe may answer. Give your user"
    )


@ERAS
async def test_a_question_for_dagcall_s_own_account_is_asked_here(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(replace(REFUND, assigned_users=["mia", "admin"])))
    person = Person(accepts(answer="Approve", amount=1))

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, person)

    assert content["state"] == "success"
    assert "Airflow accepts an answer only from mia or admin." in person.asked[0].message


@ERAS
async def test_a_question_for_others_hides_no_other_question(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow()
    tasks = [
        FakeTask("boss", question=replace(REFUND, assigned_users=["mia"])),
        FakeTask("odd", question=FakeQuestion("Odd?", params={"p": FakeParam(1, **{"$ref": "https://example.com"})})),
        FakeTask("approve", question=REFUND),
    ]
    airflow.add_dag(FakeDag("refund", tasks=tasks))
    person = Person(accepts(answer="Approve", amount=1))

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, person)

    assert [asked.message.partition("(")[2][:12] for asked in person.asked] == ["task approve"]
    assert [question["task_id"] for question in content["questions"]] == ["boss", "odd"]


@ERAS
async def test_an_answer_that_airflow_does_not_take_is_told(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())
    airflow.add_fault(Fault(route="respond", status=403, times=None))

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, Person(accepts(answer="Approve", amount=1)))

    assert notice_in(content) == "Airflow does not accept the answer from dagcall's account."


@ERAS
async def test_who_is_meant_is_airflow_s_matter_where_dagcall_does_not_know_its_account(
    served: Served, mode: Mode
) -> None:
    airflow = FakeAirflow()
    airflow.access.all_admins = True
    airflow.add_dag(asks(replace(REFUND, assigned_users=["mia"])))
    nobody = {"username": None, "password": None}

    async with served(airflow, dags=["*"], airflow=nobody) as dagcall:
        content = await content_of(dagcall, mode, Person(accepts(answer="Approve", amount=1)))

    assert content["state"] == "success"


async def test_an_answer_that_is_lost_on_the_way_is_sent_again(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())
    airflow.add_fault(Fault(route="respond", status=503, after_effect=True))

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, "auto", Person(accepts(answer="Approve", amount=1)))

    assert content["results"]["approve"]["chosen_options"] == ["Approve"]
    assert len(airflow.requests_to("respond")) == 2


async def test_an_answer_is_held_back_until_airflow_can_take_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that is answered while it is about to leave its worker is failed by Airflow's scheduler."""
    monkeypatch.setattr("dagcall.runs.hitl_replies.SETTLE_SECONDS", 60.0)
    airflow = FakeAirflow()
    airflow.add_dag(asks())
    person = Person(accepts(answer="Approve", amount=1))

    async with served(airflow) as dagcall:
        calling = asyncio.create_task(call(dagcall, "auto", person))
        await until(lambda: len(airflow.requests_to("hitl_details")) == 2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not airflow.requests_to("respond")
        calling.cancel()


async def test_an_answer_that_does_not_arrive(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())
    airflow.add_fault(Fault(route="respond", status=503, times=None))

    async with served(airflow) as dagcall:
        result = await call(dagcall, "auto", Person(accepts(answer="Approve", amount=1)))

    assert result.is_error
    run_id = airflow.runs[0].run_id
    assert text_of(result).startswith(f"It is not known whether the answer for run {run_id} of dag refund reached")


async def test_a_note_that_cannot_be_written_costs_nothing(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())
    airflow.add_fault(Fault(route="patch_runs", status=403, times=None))

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, "auto", Person(accepts(answer="Approve", amount=1)))

    assert content["state"] == "success"


async def test_a_note_that_is_full_stays_as_it_is(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())

    class Verbose(Person):
        async def __call__(
            self, context: ClientRequestContext, params: ElicitRequestParams
        ) -> ElicitResult | ErrorData:
            airflow.runs[0].note = "x" * 980
            return await super().__call__(context, params)

    async with served(airflow) as dagcall:
        await content_of(dagcall, "auto", Verbose(accepts(answer="Approve", amount=1)))

    assert "Answered through MCP" not in (airflow.runs[0].note or "")


async def test_a_client_that_fails_to_ask(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, "legacy", Person(ErrorData(code=-32603, message="no screen")))

    assert notice_in(content).startswith("Your user closed the question")


@ERAS
async def test_a_form_that_no_client_can_show(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(FakeQuestion("?", params={"p": FakeParam(1, **{"$ref": "https://example.com/s"})})))
    person = Person()

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, person)

    assert notice_in({**content, "message": " " + content["message"]}) == ""
    assert not person.asked


async def test_another_replica_takes_the_answer(served: Served) -> None:
    """Nothing is kept between the question and the answer but what the client holds."""
    airflow = FakeAirflow()
    airflow.add_dag(asks())

    async with served(airflow) as dagcall, Client(dagcall.mcp.sdk, elicitation_callback=Person()) as client:
        asked = await client.session.call_tool("refund", {}, allow_input_required=True)
    assert isinstance(asked, InputRequiredResult)
    assert asked.input_requests is not None
    assert asked.request_state is not None
    assert airflow.runs[0].run_id not in asked.request_state

    responses = {key: accepts(answer="Approve", amount=1) for key in asked.input_requests}
    async with served(airflow) as dagcall, Client(dagcall.mcp.sdk, elicitation_callback=Person()) as client:
        result = await client.call_tool(
            "refund", {}, input_responses=dict(responses), request_state=asked.request_state
        )
        with pytest.raises(MCPError, match="Invalid or expired requestState"):
            await client.call_tool("refund", {}, request_state=asked.request_state[:-4] + "AAAA")

    assert isinstance(result.structured_content, dict)
    assert result.structured_content["state"] == "success"
    assert len(airflow.runs) == 1


async def test_the_run_of_a_caller_who_leaves_in_the_middle_of_a_question(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagcall.runs.cancel.GRACE_SECONDS", 0.01)
    airflow = FakeAirflow()
    airflow.add_dag(asks())
    person = Person(None)

    async with served(airflow, tools=[{"dag": "refund", "on_cancel": "fail"}]) as dagcall:
        calling = asyncio.create_task(call(dagcall, "legacy", person))
        await until(lambda: len(person.asked) == 1)
        calling.cancel()
        await until(lambda: airflow.runs[0].state == "failed")


async def test_an_equal_call_meanwhile_is_a_run_of_its_own(served: Served) -> None:
    """A call whose person is asked is alive: its run is not free to be taken up."""
    airflow = FakeAirflow()
    airflow.add_dag(asks())
    people = [Person(None), Person(None)]

    async with served(airflow) as dagcall:
        calls = []
        for person in people:
            calls.append(asyncio.create_task(call(dagcall, "legacy", person)))
            await until(lambda person=person: len(person.asked) == 1)  # type: ignore[misc] # of the loop's own person
        for calling in calls:
            calling.cancel()

    assert len(airflow.runs) == 2


def test_the_tool_that_takes_a_person_s_answer_to_a_run_says_that_it_changes_something() -> None:
    hints = next(tool.annotations for tool in own_tools() if tool.name == WAIT_TOOL_NAME)
    assert hints is not None
    assert (hints.read_only_hint, hints.open_world_hint) == (False, True)
    assert (hints.destructive_hint, hints.idempotent_hint) == (False, True)


async def test_a_form_is_as_the_revision_of_the_connection_has_it(served: Served) -> None:
    """By hand: the SDK's client speaks no revision between the first and the last one of its era."""
    airflow = FakeAirflow()
    airflow.add_dag(asks(FakeQuestion("Which?", options=["a", "b"], multiple=True)))
    shake_hands: dict[str, Any] = {
        "protocolVersion": "2025-06-18",
        "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "by hand", "version": "1"},
    }
    async with served(airflow) as dagcall, asyncio.timeout(10), by_hand(dagcall) as (ask, read):
        await ask({"id": 1, "method": "initialize", "params": shake_hands})
        assert (await read())["result"]["protocolVersion"] == "2025-06-18"
        await ask({"method": "notifications/initialized"})
        await ask({"id": 2, "method": "tools/call", "params": {"name": "refund", "arguments": {}}})
        question = await read()
        shown = question["params"]["requestedSchema"]["properties"]
        content = {name: name.endswith("2") for name in shown}
        await ask({"id": question["id"], "result": {"action": "accept", "content": content}})
        answer = (await read())["result"]["structuredContent"]

    assert question["method"] == "elicitation/create"
    assert {name: field["type"] for name, field in shown.items()} == {"answer_1": "boolean", "answer_2": "boolean"}
    assert answer["results"]["approve"]["chosen_options"] == ["b"]


Ask = Callable[[dict[str, Any]], Awaitable[None]]
Read = Callable[[], Awaitable[dict[str, Any]]]


@asynccontextmanager
async def by_hand(dagcall: Dagcall) -> AsyncIterator[tuple[Ask, Read]]:
    """Connect to dagcall as stdio does; yield what sends a message, and what reads the next one."""
    to_server, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](9)
    outgoing, from_server = anyio.create_memory_object_stream[SessionMessage](9)

    async def ask(message: dict[str, Any]) -> None:
        await to_server.send(SessionMessage(jsonrpc_message_adapter.validate_python({"jsonrpc": "2.0", **message})))

    async def read() -> dict[str, Any]:
        found: dict[str, Any] = (await from_server.receive()).message.model_dump(by_alias=True, exclude_unset=True)
        return found

    sdk = dagcall.mcp.sdk
    async with to_server, from_server:
        serving = asyncio.create_task(sdk.run(incoming, outgoing, sdk.create_initialization_options()))
        yield ask, read
        await to_server.aclose()
        await serving
