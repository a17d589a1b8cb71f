"""What the answers to single requests mean: Airflow's own, and those of a proxy in front of it."""

import time
from collections.abc import AsyncIterator

import pytest

from dagcall.airflow.client import AirflowApi, DagQuery
from dagcall.airflow.credentials import Credentials, static_token
from dagcall.airflow.gate import Gate
from dagcall.airflow.rest import READ_ATTEMPTS, AirflowRest
from dagcall.airflow.xcoms import fetch_results
from dagcall.errors import (
    AirflowAnswerUnusable,
    AirflowConflict,
    AirflowError,
    AirflowNotFound,
    AirflowRefused,
    AirflowRejected,
)
from tests.fake_airflow import FakeAirflow, FakeDag, Fault
from tests.fake_airflow.wire import Route

PROXY_PAGE = "<html><body>default backend - 404</body></html>"


@pytest.fixture
def airflow() -> FakeAirflow:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("plain"))
    return airflow


@pytest.fixture
async def api(airflow: FakeAirflow) -> AsyncIterator[AirflowApi]:
    credentials = Credentials(static_token(airflow.access.token()), now=time.time)
    rest = AirflowRest(airflow.url, credentials, gate=Gate(), transport=airflow.transport)
    yield AirflowApi(rest)
    await rest.aclose()


async def trigger(api: AirflowApi) -> None:
    await api.trigger("plain", run_id="mcp__1", conf={}, logical_date=None, note="")


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, AirflowRejected), (403, AirflowRefused), (404, AirflowNotFound), (409, AirflowConflict)],
)
async def test_airflows_own_refusal_raises_the_matching_error(
    airflow: FakeAirflow, api: AirflowApi, status: int, error: type[AirflowError]
) -> None:
    airflow.add_fault(Fault(route="trigger", status=status, body={"detail": "Airflow says so"}))
    with pytest.raises(error):
        await trigger(api)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(PROXY_PAGE, id="a page"),
        pytest.param("", id="nothing"),
        pytest.param({"message": "no Route matched with those values"}, id="a gateway's JSON"),
        pytest.param({"error": "API route not found"}, id="Airflow without this route"),
        pytest.param({"detail": None}, id="no detail"),
        pytest.param(["detail"], id="a list"),
    ],
)
async def test_refusal_by_a_proxy_is_an_unusable_answer(
    airflow: FakeAirflow, api: AirflowApi, status: int, body: object
) -> None:
    airflow.add_fault(Fault(route="trigger", status=status, body=body))
    with pytest.raises(AirflowAnswerUnusable, match=rf"answered /api/v2/dags/plain/dagRuns with status {status}"):
        await trigger(api)
    assert airflow.runs == []


async def test_title_of_a_proxys_page_is_reported(airflow: FakeAirflow, api: AirflowApi) -> None:
    title = "400 No required\n SSL certificate\u202e was sent"  # what nginx says without a client certificate
    airflow.add_fault(Fault(route="trigger", status=400, body=f"<html><head><TITLE>{title}</TITLE></head>"))
    with pytest.raises(AirflowAnswerUnusable, match=r'status 400 \("400 No required SSL certificate was sent"\), but'):
        await trigger(api)


async def test_not_found_from_a_web_framework_is_an_unusable_answer(airflow: FakeAirflow, api: AirflowApi) -> None:
    airflow.add_fault(Fault(route="run", status=404, body={"detail": "Not Found"}, times=None))
    with pytest.raises(AirflowAnswerUnusable):
        await api.fetch_run("plain", "mcp__1")


GARBLED = [
    pytest.param({"status": 200, "body": "<html>Sign in</html>"}, id="a log-in page"),
    pytest.param({"status": 200, "body": '{"dag_id": "pla'}, id="cut in the middle"),
    pytest.param({"status": 200, "body": {"status": "ok"}}, id="of another shape"),
    pytest.param({"status": 200, "body": []}, id="a list"),
    pytest.param({"status": 404, "body": PROXY_PAGE}, id="a proxy's 404"),
]


@pytest.mark.parametrize("answer", GARBLED)
@pytest.mark.parametrize("route", ["dag", "dag_details", "dags", "tasks", "run", "list_task_instances"])
async def test_garbled_answer_to_a_read_is_retried(
    airflow: FakeAirflow, api: AirflowApi, route: Route, answer: dict[str, object]
) -> None:
    await trigger(api)
    airflow.add_fault(Fault(route=route, times=READ_ATTEMPTS - 1, **answer))  # type: ignore[arg-type]
    match route:
        case "dag":
            assert (await api.fetch_summary("plain")).dag_id == "plain"
        case "dag_details":
            assert (await api.fetch_dag("plain")).dag_id == "plain"
        case "dags":
            assert [dag.dag_id for dag in await api.fetch_dags(DagQuery())] == ["plain"]
        case "tasks":
            assert [task.task_id for task in await api.fetch_tasks("plain")] == ["work"]
        case "run":
            assert (await api.fetch_run("plain", "mcp__1")).run_id == "mcp__1"
        case _:
            assert [one.task_id for one in await api.fetch_task_instances("plain", "mcp__1")] == ["work"]


async def test_repeated_garbled_answers_end_in_one_error(airflow: FakeAirflow, api: AirflowApi) -> None:
    airflow.add_fault(Fault(route="dag", status=200, body="<html>Sign in</html>", times=None))
    with pytest.raises(AirflowAnswerUnusable, match="what is in front of Airflow"):
        await api.fetch_summary("plain")
    assert len(airflow.requests_to("dag")) == READ_ATTEMPTS


async def test_garbled_answer_to_a_trigger_is_not_retried(airflow: FakeAirflow, api: AirflowApi) -> None:
    airflow.add_fault(Fault(route="trigger", status=200, body="<html>Sign in</html>", after_effect=True))
    with pytest.raises(AirflowAnswerUnusable):
        await trigger(api)
    assert len(airflow.requests_to("trigger")) == 1


async def test_oversized_answer_is_not_retried(airflow: FakeAirflow) -> None:
    credentials = Credentials(static_token(airflow.access.token()), now=time.time)
    rest = AirflowRest(airflow.url, credentials, gate=Gate(), max_answer_bytes=10, transport=airflow.transport)
    with pytest.raises(AirflowAnswerUnusable, match="more than the 10 bytes"):
        await AirflowApi(rest).fetch_dag("plain")
    await rest.aclose()
    assert len(airflow.requests_to("dag_details")) == 1


async def test_garbled_answers_consume_the_retry_budget(airflow: FakeAirflow, api: AirflowApi) -> None:
    airflow.add_fault(Fault(route="dag", status=200, body="<html>Sign in</html>", times=None))
    for _ in range(20):
        with pytest.raises(AirflowAnswerUnusable):
            await api.fetch_summary("plain")
    assert len(airflow.requests_to("dag")) < 20 + 15


@pytest.mark.parametrize("body", ["", "\n", "<html>Sign in</html>", '{"state": "succ', "[]", '{"state": "odd"}'])
async def test_garbled_results_are_retried(airflow: FakeAirflow, api: AirflowApi, body: str) -> None:
    await trigger(api)
    airflow.finish(airflow.runs[0])
    airflow.add_fault(Fault(route="wait", status=200, body=body))
    assert await fetch_results(api.rest, "plain", "mcp__1", None) == {}
