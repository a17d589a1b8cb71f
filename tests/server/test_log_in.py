"""The log-in to Airflow: the meaning of its answers, and how often it is retried."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from dagcall.airflow.auth_token import as_client, as_user, log_in
from dagcall.airflow.gate import Gate
from dagcall.airflow.rest import airflow_clock
from dagcall.errors import (
    AirflowAnswerUnusable,
    AirflowError,
    AirflowLogInRefused,
    AirflowUnreachable,
    ConfigError,
)
from dagcall.log_ins import credentials_for
from dagcall.settings.airflow import AirflowSettings
from tests.fake_airflow import FakeAirflow, FakeDag, Fault
from tests.fake_airflow.access import FakeUser
from tests.server.test_calls import add, answer, refusal
from tests.support.in_memory import Served


@pytest.mark.parametrize(
    ("status", "body", "error", "sentence"),
    [
        (401, {"detail": "Invalid credentials"}, AirflowLogInRefused, "wrong user name or password (401"),
        (403, {"detail": "Invalid credentials"}, AirflowLogInRefused, "wrong user name or password (403"),
        (
            422,
            {"detail": [{"loc": ["body"], "msg": "no"}]},
            AirflowLogInRefused,
            "takes no user name and password (422",
        ),
        (
            404,
            {"detail": "Not Found"},
            AirflowAnswerUnusable,
            "it has no POST /auth/token there (404). Where Airflow has",
        ),
        (404, "<h1>Not found</h1>", AirflowAnswerUnusable, "something in front of it, or another server, has no POST"),
        (404, {"error": "API route not found"}, AirflowAnswerUnusable, "airflow.url holds it"),
        (405, {"detail": "Method Not Allowed"}, AirflowAnswerUnusable, "no POST /auth/token there (405)"),
        (401, "<html>Sign in</html>", AirflowAnswerUnusable, "something in front of it answered with status 401"),
        (302, "", AirflowAnswerUnusable, "it points to https://sso.example"),
        (200, "<html>Sign in</html>", AirflowAnswerUnusable, "with no token: something in front of Airflow"),
        (201, {"token": "t"}, AirflowAnswerUnusable, "with no token: something in front of Airflow"),
        (429, "slow down", AirflowUnreachable, "cannot log in users now (429)"),
        (502, "<html>Bad gateway</html>", AirflowUnreachable, "cannot log in users now (502)"),
    ],
)
async def test_log_in_error_names_the_cause(
    status: int, body: object, error: type[AirflowError], sentence: str
) -> None:
    airflow = FakeAirflow()
    headers = {"location": "https://sso.example"} if status == 302 else {}
    airflow.add_fault(Fault(route="log_in", status=status, body=body, headers=headers))

    with pytest.raises(error) as caught:
        await log_in(airflow.url, as_user("admin", "admin"), gate=Gate(), transport=airflow.transport)

    assert type(caught.value) is error
    assert sentence in str(caught.value)


async def test_log_in_error_carries_airflows_retry_after() -> None:
    airflow = FakeAirflow()
    airflow.add_fault(Fault(route="log_in", status=429, headers={"retry-after": "7"}))
    with pytest.raises(AirflowUnreachable) as caught:
        await log_in(airflow.url, as_user("admin", "admin"), gate=Gate(), transport=airflow.transport)
    assert caught.value.retry_after_seconds == 7


async def test_wrong_password_is_tried_once_by_many_requests(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.access.users["admin"] = FakeUser("admin", "another")

    async with served(airflow) as dagcall:
        texts = await asyncio.gather(*(refusal(dagcall, "wait_for_dag_run", tool="add", dag_run_id="x") for _ in "12"))
        found = await asyncio.gather(
            *(dagcall.runs._api.fetch_run("add", "x") for _ in range(50)),  # noqa: SLF001 - fifty requests at once
            return_exceptions=True,
        )

    assert texts
    assert {type(each) for each in found} == {AirflowLogInRefused}
    assert len(airflow.requests_to("log_in")) == 1


async def test_changed_password_file_is_read_at_once(served: Served, tmp_path: Path) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    file = tmp_path / "password"
    file.write_text("admin", encoding="utf-8")

    async with served(airflow, dags=["*"], airflow={"password": None, "password_file": str(file)}) as dagcall:
        airflow.access.users["admin"] = FakeUser("admin", "another")
        airflow.access.revoke_tokens()
        assert "wrong user name or password" in await refusal(dagcall, "add", x=1)
        assert "wrong user name or password" in await refusal(dagcall, "add", x=1)
        assert len(airflow.requests_to("log_in")) == 2
        file.write_text("another", encoding="utf-8")
        assert (await answer(dagcall, "add", x=1))["results"] == {"total": 3}


async def test_one_429_at_the_log_in_is_retried(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow) as dagcall:
        airflow.access.revoke_tokens()
        airflow.add_fault(Fault(route="log_in", status=429))
        problem = (await dagcall.catalog.refresh()).problem
        await asyncio.sleep(1)
        content = await answer(dagcall, "add", x=1)

    assert problem is not None
    assert "cannot log in users now (429)" in problem
    assert content["results"] == {"total": 3}


@pytest.mark.parametrize("setting", ["token", "token_file"])
async def test_invalid_token_is_reported_at_start_up(tmp_path: Path, setting: str) -> None:
    (tmp_path / "file").write_text("please log in", encoding="utf-8")
    value: dict[str, Any] = {"token": "please log in", "token_file": str(tmp_path / "file")}
    settings = AirflowSettings.model_validate({setting: value[setting]})
    with pytest.raises(ConfigError, match=rf"airflow\.{setting}.* contains no valid token"):
        credentials_for(settings, settings.url, Gate(), airflow_clock())


async def test_token_file_may_have_a_byte_order_mark(served: Served, tmp_path: Path) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("plain"))
    file = tmp_path / "token"
    file.write_text(airflow.access.token(), encoding="utf-8-sig")
    login = {"username": None, "password": None, "token_file": str(file)}

    async with served(airflow, dags=["*"], airflow=login) as dagcall:
        assert list(dagcall.catalog.snapshot.tools) == ["plain"]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (403, "client 'airflow': wrong secret, or not the client that Airflow itself uses (403: no)"),
        (422, "client 'airflow': its log-in takes no client_id and client_secret (422: no)"),
    ],
)
async def test_refused_log_in_of_a_client_names_the_client(status: int, sentence: str) -> None:
    airflow = FakeAirflow()
    airflow.add_fault(Fault(route="log_in", status=status, body={"detail": "no"}))

    with pytest.raises(AirflowLogInRefused) as caught:
        await log_in(airflow.url, as_client("airflow", "s3cret"), gate=Gate(), transport=airflow.transport)

    assert sentence in str(caught.value)


async def test_secret_file_of_a_client_is_reread(served: Served, tmp_path: Path) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.access.clients["airflow"] = "one"
    file = tmp_path / "secret"
    file.write_text("one", encoding="utf-8")
    client = {"username": None, "password": None, "client_id": "airflow", "client_secret_file": str(file)}

    async with served(airflow, dags=["*"], airflow=client) as dagcall:
        airflow.access.clients["airflow"] = "two"
        airflow.access.revoke_tokens()
        file.write_text("two", encoding="utf-8")
        assert (await answer(dagcall, "add", x=1))["results"] == {"total": 3}


# A token with another one inside, as Keycloak's auth manager makes them


async def test_token_is_renewed_before_the_token_inside_it_expires(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.access.keycloak_seconds = 60

    async with served(airflow, dags=["*"]) as dagcall:
        before = airflow.access.logins
        await airflow.clock.sleep(50)
        await dagcall.catalog.refresh()  # hears the time
        snapshot = await dagcall.catalog.refresh()

    assert list(snapshot.tools) == ["add"]
    assert airflow.access.logins == before + 1


@pytest.mark.parametrize("selector", ["*", "add"])
async def test_closed_session_hides_no_dag(served: Served, selector: str) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.access.keycloak_seconds = 3600

    async with served(airflow, dags=[selector]) as dagcall:
        airflow.access.close_sessions()
        snapshot = await dagcall.catalog.refresh()
        airflow.access.close_sessions()
        content = await answer(dagcall, "add", x=1)

    assert list(snapshot.tools) == ["add"]
    assert snapshot.problem is None
    assert content["results"] == {"total": 3}


async def test_wait_survives_a_closed_session(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.access.keycloak_seconds = 3600

    async with served(airflow, dags=["*"]) as dagcall:
        calling = asyncio.create_task(answer(dagcall, "add", x=1))
        while not airflow.runs:  # noqa: ASYNC110 - the fake sends no event
            await asyncio.sleep(0)
        airflow.access.close_sessions()
        content = await calling

    assert content["results"] == {"total": 3}


async def test_same_refusal_costs_at_most_one_log_in_in_a_minute(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.access.keycloak_seconds = 3600
    airflow.access.users["admin"] = FakeUser("admin", "admin", readable=frozenset())

    async with served(airflow, dags=["add"]) as dagcall:
        before = airflow.access.logins
        for _ in range(20):
            await dagcall.catalog.refresh()

    assert airflow.access.logins == before


# In front of Airflow


async def test_redirect_to_a_log_in_page_renews_the_token(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    page = {"location": "https://accounts.google.com/o/oauth2/v2/auth"}

    async with served(airflow, dags=["*"]) as dagcall:
        airflow.add_fault(Fault(route="trigger", status=302, headers=page))
        content = await answer(dagcall, "add", x=1)

    assert content["results"] == {"total": 3}
    assert airflow.access.logins == 2
    assert len(airflow.runs) == 1
