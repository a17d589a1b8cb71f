"""Questions of a run to people and their answers: Airflow's behaviour, and the two methods of `dagcall.airflow`."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from dagcall.airflow.client import AirflowApi
from dagcall.airflow.credentials import Credentials, static_token
from dagcall.airflow.gate import Gate
from dagcall.airflow.hitl import Question, Response
from dagcall.airflow.model import Param
from dagcall.airflow.rest import AirflowRest
from dagcall.errors import AirflowConflict, AirflowNotFound, AirflowRefused, AirflowRejected
from tests.contract.fake_side import ContractAirflow
from tests.fake_airflow import FakeParam, FakeQuestion
from tests.support.plain_http import PLAIN

APPROVAL = FakeQuestion("Go on?", defaults=["Reject"])


@pytest.fixture
async def api(airflow: ContractAirflow) -> AsyncIterator[AirflowApi]:
    credentials = Credentials(static_token(airflow.token()), now=lambda: 0)
    rest = AirflowRest(airflow.url, credentials, gate=Gate(), transport=airflow.transport, verify=PLAIN)
    yield AirflowApi(rest)
    await rest.aclose()


async def begin(airflow: ContractAirflow, api: AirflowApi, dag_id: str, run_id: str) -> None:
    await api.trigger(dag_id, run_id=run_id, conf={}, logical_date=None, note="")
    airflow.start(dag_id, run_id)


async def asked(airflow: ContractAirflow, api: AirflowApi, run_id: str, question: FakeQuestion = APPROVAL) -> Question:
    await begin(airflow, api, "one_task", run_id)
    airflow.ask("one_task", run_id, "add", question)
    (found,) = await api.fetch_questions([("one_task", run_id)])
    return found


async def detail(http: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    answer = await http.get(f"/dags/one_task/dagRuns/{run_id}/taskInstances/add/-1/hitlDetails")
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


async def test_question_with_all_fields_is_fetched(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    question = await asked(
        airflow,
        api,
        run_id,
        FakeQuestion(
            "Which?",
            options=["a", "b"],
            body="**Choose.**",
            defaults=["a"],
            multiple=True,
            params={"n": FakeParam(3, type="integer", description="How many."), "plain": "x"},
            assigned_users=["mia"],
        ),
    )
    assert question == Question(
        dag_id="one_task",
        run_id=run_id,
        task_id="add",
        map_index=-1,
        asked_at=question.asked_at,
        subject="Which?",
        body="**Choose.**",
        options=("a", "b"),
        defaults=("a",),
        is_multiple=True,
        params=(Param("n", 3, {"type": "integer"}, "How many."), Param("plain", "x", {}, None)),
        assigned_users=("mia",),
        assigned_ids=("mia",),
        url=f"{airflow.url}/dags/one_task/runs/{run_id}/tasks/add/required_actions",
    )


async def test_question_without_optional_fields_is_fetched(
    airflow: ContractAirflow, api: AirflowApi, run_id: str
) -> None:
    question = await asked(airflow, api, run_id, FakeQuestion("Go on?", options=["OK"]))
    assert (question.body, question.defaults, question.is_multiple) == ("", (), False)
    assert (question.params, question.assigned_users) == ((), ())


async def test_open_questions_of_several_runs_are_fetched(
    airflow: ContractAirflow, api: AirflowApi, run_id: str
) -> None:
    """Including those of mapped tasks, but neither those of other runs nor those whose task no longer waits."""
    for number in (1, 2):
        await begin(airflow, api, "one_task", f"{run_id}.{number}")
        airflow.ask("one_task", f"{run_id}.{number}", "add", APPROVAL)
    await begin(airflow, api, "mapped_leaf", run_id)
    for index in (2, 0):
        airflow.ask("mapped_leaf", run_id, "double", APPROVAL, map_index=index)

    keys = {("one_task", f"{run_id}.1"), ("mapped_leaf", run_id)}
    found = await api.fetch_questions(keys)
    assert [(q.dag_id, q.run_id, q.name) for q in found] == [
        ("one_task", f"{run_id}.1", "add"),
        ("mapped_leaf", run_id, "double[2]"),
        ("mapped_leaf", run_id, "double[0]"),
    ]
    assert found[1].url == f"{airflow.url}/dags/mapped_leaf/runs/{run_id}/tasks/double/mapped/2/required_actions"

    await api.respond(found[1], Response(("Approve",), {}))
    airflow.set_task("one_task", f"{run_id}.1", "add", "failed")
    assert [question.name for question in await api.fetch_questions(keys)] == ["double[0]"]


async def test_answer_is_stored_with_its_user(
    airflow: ContractAirflow, api: AirflowApi, http: httpx.AsyncClient, run_id: str
) -> None:
    question = await asked(airflow, api, run_id)
    await api.respond(question, Response(("Approve",), {"n": 1, "note": None}))

    found = await detail(http, run_id)
    assert (found["chosen_options"], found["params_input"]) == (["Approve"], {"n": 1, "note": None})
    assert (found["response_received"], found["responded_by_user"]) == (True, {"id": "admin", "name": "admin"})
    assert found["task_instance"]["state"] == ("deferred" if airflow.version < "3.3" else "scheduled")


async def test_second_answer_is_a_conflict(
    airflow: ContractAirflow, api: AirflowApi, http: httpx.AsyncClient, run_id: str
) -> None:
    question = await asked(airflow, api, run_id)
    await api.respond(question, Response(("Reject",), {}))
    with pytest.raises(AirflowConflict):
        await api.respond(question, Response(("Approve",), {}))
    assert (await detail(http, run_id))["chosen_options"] == ["Reject"]


async def test_only_assigned_users_may_answer(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    question = await asked(airflow, api, run_id, FakeQuestion("Go on?", assigned_users=["mia", "viewer"]))
    with pytest.raises(AirflowRefused, match="is not a respondent for the task"):
        await api.respond(question, Response(("Approve",), {}))


async def test_invalid_answer_is_refused_since_3_3(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    """Older versions accept it, and the task fails."""
    question = await asked(airflow, api, run_id)
    if airflow.version < "3.3":
        await api.respond(question, Response(("Maybe", "Approve"), {}))
        return
    with pytest.raises(AirflowRejected) as rejected:
        await api.respond(question, Response(("Maybe",), {}))
    assert rejected.value.reason == "Invalid options ['Maybe']; allowed options are ['Approve', 'Reject']."
    with pytest.raises(AirflowRejected):
        await api.respond(question, Response(("Reject", "Approve"), {}))


async def test_question_of_a_deleted_run_cannot_be_answered(
    airflow: ContractAirflow, api: AirflowApi, run_id: str
) -> None:
    question = await asked(airflow, api, run_id)
    airflow.delete("one_task", run_id)
    assert await api.fetch_questions([("one_task", run_id)]) == ()
    with pytest.raises(AirflowNotFound):
        await api.respond(question, Response(("Approve",), {}))


async def test_awaiting_input_filter_is_unknown_before_3_3(airflow: ContractAirflow, http: httpx.AsyncClient) -> None:
    answer = await http.get("/dags/~/dagRuns/~/hitlDetails", params={"state": "awaiting_input"})
    assert answer.status_code == (422 if airflow.version < "3.3" else 200)
