"""Runs that ask a person: from the SDK's client to the fake Airflow and back, in both protocol eras."""

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
    """The person behind the client, who answers the questions in turn."""

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
async def test_call_continues_after_a_person_answers(served: Served, version: Version, mode: Mode) -> None:
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
async def test_simultaneous_questions_are_all_asked(served: Served, mode: Mode) -> None:
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
async def test_consecutive_questions_are_asked_in_turn(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow()
    tasks = [FakeTask("first", question=REFUND, downstream=["second"]), FakeTask("second", question=REFUND)]
    airflow.add_dag(FakeDag("refund", tasks=tasks))
    person = Person(accepts(answer="Approve", amount=1), accepts(answer="Reject", amount=2))

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, person)

    assert content["results"]["second"]["chosen_options"] == ["Reject"]
    assert len(person.asked) == 2


@ERAS
async def test_invalid_answer_is_asked_for_again(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow("3.1.8")  # which would accept it
    airflow.add_dag(asks())
    person = Person(accepts(answer="Approve", amount=0), accepts(answer="Approve", amount=1))

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, person)

    assert content["results"]["approve"]["params_input"] == {"amount": 1}
    assert person.asked[1].message.startswith(
        "Your answer was not accepted:\n- amount: 0 is less than the minimum of 1\n\nThe Airflow dag refund waits"
    )
    assert len(airflow.requests_to("respond")) == 1


async def test_answer_rejected_by_airflow_is_asked_for_again(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())
    airflow.add_fault(Fault(route="respond", status=400, body={"detail": "Not today."}))
    person = Person(*[accepts(answer="Approve", amount=1)] * 2)

    async with served(airflow) as dagcall:
        await content_of(dagcall, "auto", person)

    assert person.asked[1].message.startswith("Your answer was not accepted:\n- Not today.\n")


@pytest.mark.virtual_time
async def test_question_is_given_up_after_repeated_invalid_answers(served: Served) -> None:
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
async def test_unanswered_question_sends_nothing_to_airflow(
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
async def test_declined_question_stays_open_beside_an_answered_one(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(mapped=2))

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, Person(accepts(answer="Approve", amount=1), DECLINES))

    assert notice_in(content).startswith("Your user declined")
    assert [question["map_index"] for question in content["questions"]] == [1]


@ERAS
@pytest.mark.parametrize("version", VERSIONS)
async def test_client_without_elicitation_gets_the_question_as_a_result(
    served: Served, version: Version, mode: Mode
) -> None:
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
    """Answer as a person does in Airflow's UI."""
    (run,) = airflow.runs
    (instance,) = run.instances_of("approve")
    assert instance.asking is not None
    instance.asking.response = FakeResponse(["Reject"], {"amount": 180}, "mia", airflow.clock.now())
    instance.state = "scheduled"
    run.set_state(run.state, airflow.clock.now())


async def test_wait_without_elicitation_ends_after_an_answer_in_airflow(served: Served) -> None:
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


async def test_drained_wait_returns_the_question_again(served: Served) -> None:
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


async def test_second_wait_asks_again(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, "auto", Person(DECLINES))
        content = await wait_for(dagcall, content["dag_run_id"], Person(accepts(answer="Approve", amount=3)))

    assert content["results"]["approve"]["params_input"] == {"amount": 3}


@ERAS
async def test_earlier_answer_in_airflow_prevails(served: Served, mode: Mode) -> None:
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


async def test_answer_in_airflow_ends_an_open_elicitation(served: Served) -> None:
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
async def test_unanswered_question_times_out(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())

    async with served(airflow, wait_seconds=1.5) as dagcall:
        content = await content_of(dagcall, "legacy", Person(None))

    assert notice_in(content) == ("Your user was asked, but did not answer within this call's time limit.")


@ERAS
async def test_question_assigned_to_others_is_not_asked(served: Served, mode: Mode) -> None:
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
async def test_question_assigned_to_dagcalls_account_is_asked(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(replace(REFUND, assigned_users=["mia", "admin"])))
    person = Person(accepts(answer="Approve", amount=1))

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, person)

    assert content["state"] == "success"
    assert "Airflow accepts an answer only from mia or admin." in person.asked[0].message


@ERAS
async def test_unanswerable_questions_do_not_hide_others(served: Served, mode: Mode) -> None:
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
async def test_answer_refused_by_airflow_is_reported(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())
    airflow.add_fault(Fault(route="respond", status=403, times=None))

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, Person(accepts(answer="Approve", amount=1)))

    assert notice_in(content) == "Airflow does not accept the answer from dagcall's account."


@ERAS
async def test_assigned_question_is_asked_if_dagcalls_account_is_unknown(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow()
    airflow.access.all_admins = True
    airflow.add_dag(asks(replace(REFUND, assigned_users=["mia"])))
    nobody = {"username": None, "password": None}

    async with served(airflow, dags=["*"], airflow=nobody) as dagcall:
        content = await content_of(dagcall, mode, Person(accepts(answer="Approve", amount=1)))

    assert content["state"] == "success"


async def test_answer_whose_response_is_lost_is_sent_again(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())
    airflow.add_fault(Fault(route="respond", status=503, after_effect=True))

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, "auto", Person(accepts(answer="Approve", amount=1)))

    assert content["results"]["approve"]["chosen_options"] == ["Approve"]
    assert len(airflow.requests_to("respond")) == 2


async def test_answer_is_delayed_until_airflow_can_accept_it(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's scheduler fails a task that is answered while it is about to leave its worker."""
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


async def test_answer_with_an_unknown_effect_is_reported(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())
    airflow.add_fault(Fault(route="respond", status=503, times=None))

    async with served(airflow) as dagcall:
        result = await call(dagcall, "auto", Person(accepts(answer="Approve", amount=1)))

    assert result.is_error
    run_id = airflow.runs[0].run_id
    assert text_of(result).startswith(f"It is not known whether the answer for run {run_id} of dag refund reached")


async def test_call_succeeds_if_the_note_cannot_be_written(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())
    airflow.add_fault(Fault(route="patch_runs", status=403, times=None))

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, "auto", Person(accepts(answer="Approve", amount=1)))

    assert content["state"] == "success"


async def test_full_note_is_not_changed(served: Served) -> None:
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


async def test_elicitation_error_counts_as_a_closed_question(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks())

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, "legacy", Person(ErrorData(code=-32603, message="no screen")))

    assert notice_in(content).startswith("Your user closed the question")


@ERAS
async def test_question_without_a_displayable_form_is_not_asked(served: Served, mode: Mode) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(asks(FakeQuestion("?", params={"p": FakeParam(1, **{"$ref": "https://example.com/s"})})))
    person = Person()

    async with served(airflow) as dagcall:
        content = await content_of(dagcall, mode, person)

    assert notice_in({**content, "message": " " + content["message"]}) == ""
    assert not person.asked


async def test_another_replica_accepts_the_answer(served: Served) -> None:
    """Between the question and the answer, only the client keeps state."""
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


async def test_run_is_set_to_failed_if_the_caller_disconnects_during_a_question(
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


async def test_identical_call_during_a_question_starts_another_run(served: Served) -> None:
    """A call whose person is being asked still waits, so no other call may adopt its run."""
    airflow = FakeAirflow()
    airflow.add_dag(asks())
    people = [Person(None), Person(None)]

    async with served(airflow) as dagcall:
        calls = []
        for person in people:
            calls.append(asyncio.create_task(call(dagcall, "legacy", person)))
            await until(lambda person=person: len(person.asked) == 1)  # type: ignore[misc] # binds this iteration's person
        for calling in calls:
            calling.cancel()

    assert len(airflow.runs) == 2


def test_wait_tool_is_not_annotated_as_read_only() -> None:
    hints = next(tool.annotations for tool in own_tools() if tool.name == WAIT_TOOL_NAME)
    assert hints is not None
    assert (hints.read_only_hint, hints.open_world_hint) == (False, True)
    assert (hints.destructive_hint, hints.idempotent_hint) == (False, True)


async def test_form_follows_the_negotiated_protocol_revision(served: Served) -> None:
    """By hand, because the SDK's client supports only the first and the last revision of its era."""
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
    """Connect to dagcall as stdio does; yield functions that send a message and read the next one."""
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
