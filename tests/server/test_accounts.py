"""In whose name Airflow starts, stops and answers: the account of the caller, and dagcall's own for looking."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dagcall.settings.settings import Settings, load_settings
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask, Fault
from tests.fake_airflow.access import FakeUser
from tests.server.test_calls import Mode, add, answer, refusal
from tests.support.in_memory import Served
from tests.unit.mcp.test_elicitation import ERAS, REFUND, Person, accepts, asks, content_of, notice_in
from tests.unit.runs.test_quotas import briefly, waits


@pytest.fixture(autouse=True)
def answer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagcall.runs.hitl_replies.SETTLE_SECONDS", 0.0)


@pytest.fixture
def airflow(tmp_path: Path) -> FakeAirflow:
    """Airflow with a clerk who may write, and the files with passwords and tokens."""
    airflow = FakeAirflow()
    airflow.access.users["clerk"] = FakeUser("clerk", "clerk-password")
    (tmp_path / "clerk").write_text("clerk-password", encoding="utf-8")
    (tmp_path / "viewer").write_text("viewer", encoding="utf-8")
    (tmp_path / "token").write_text(airflow.access.token("clerk"), encoding="utf-8")
    return airflow


def logging_in(folder: Path, user: str, *callers: str) -> dict[str, Any]:
    return {"callers": callers or ["*"], "username": user, "password_file": str(folder / user)}


async def test_a_run_is_started_as_the_caller_s_account_and_watched_as_dagcall_s(
    served: Served, airflow: FakeAirflow, tmp_path: Path
) -> None:
    airflow.add_dag(add())
    accounts = [logging_in(tmp_path, "viewer", "key:ci"), logging_in(tmp_path, "clerk", "local")]

    async with served(airflow, dags=["*"], accounts=accounts) as dagcall:
        content = await answer(dagcall, "add", x=1)

    assert content["results"] == {"total": 3}
    assert airflow.runs[0].triggering_user_name == "clerk"
    assert airflow.access.logins == 2


async def test_a_token_in_a_file_will_do(served: Served, airflow: FakeAirflow, tmp_path: Path) -> None:
    airflow.add_dag(add())
    accounts = [{"callers": ["*"], "token_file": str(tmp_path / "token")}]

    async with served(airflow, dags=["*"], accounts=accounts) as dagcall:
        await answer(dagcall, "add", x=1)

    assert airflow.runs[0].triggering_user_name == "clerk"


async def test_dagcall_s_own_account_acts_where_that_is_said(served: Served, airflow: FakeAirflow) -> None:
    airflow.add_dag(add())

    async with served(airflow, dags=["*"], accounts=[{"callers": ["local"], "is_own": True}]) as dagcall:
        await answer(dagcall, "add", x=1)

    assert airflow.runs[0].triggering_user_name == "admin"


async def test_what_the_account_may_not_do_is_not_done(served: Served, airflow: FakeAirflow, tmp_path: Path) -> None:
    airflow.add_dag(add())

    async with served(airflow, dags=["*"], accounts=[logging_in(tmp_path, "viewer")]) as dagcall:
        text = await refusal(dagcall, "add", x=1)

    assert text == (
        "Nothing was started: dagcall starts your runs with Airflow's account 'viewer', and Airflow does not let it "
        "run dag add. Airflow's administrator can change that."
    )
    assert airflow.runs == []


async def test_an_account_may_start_and_not_stop(served: Served, airflow: FakeAirflow, tmp_path: Path) -> None:
    airflow.add_dag(waits())

    async with served(airflow, dags=["*"], accounts=[logging_in(tmp_path, "clerk")]) as dagcall:
        await briefly(dagcall, x=1)
        (run,) = airflow.runs
        airflow.access.users["clerk"] = FakeUser("clerk", "clerk-password", "viewer")
        text = await refusal(dagcall, "cancel_dag_run", tool="waits", dag_run_id=run.run_id)

    assert text == (
        "Nothing was changed: dagcall acts for you with Airflow's account 'clerk', and Airflow does not let it set "
        "runs of dag waits to failed. Airflow's administrator can change that."
    )
    assert run.state != "failed"


@ERAS
@pytest.mark.virtual_time
async def test_an_answer_that_is_refused_names_the_account_that_gave_it(
    served: Served, airflow: FakeAirflow, tmp_path: Path, mode: Mode
) -> None:
    airflow.add_dag(asks(replace(REFUND, assigned_users=["clerk"])))
    airflow.add_fault(Fault(route="respond", status=403, times=None))
    person = Person(accepts(answer="Approve", amount=1))

    async with served(airflow, dags=["*"], accounts=[logging_in(tmp_path, "clerk")]) as dagcall:
        content = await content_of(dagcall, mode, person)

    assert notice_in(content) == (
        "Airflow does not accept the answer from its account 'clerk', which answers for you here."
    )


@ERAS
async def test_a_question_that_names_others_than_the_callers_account_is_not_asked_here(
    served: Served, airflow: FakeAirflow, tmp_path: Path, mode: Mode
) -> None:
    """Even where it names dagcall's own account, which does not answer for the caller."""
    airflow.add_dag(asks(replace(REFUND, assigned_users=["admin"])))
    person = Person()

    async with served(airflow, dags=["*"], accounts=[logging_in(tmp_path, "clerk")]) as dagcall:
        content = await content_of(dagcall, mode, person)

    assert person.asked == []
    assert "Only admin may answer." in content["message"]


GONE = (
    "with Airflow's account '{}', and Airflow does not let that account in: its password or token is no longer valid. "
    "The operator of this dagcall can fix that."
)


@pytest.mark.parametrize("becomes", ["another password", None])
async def test_an_account_that_is_let_in_no_more_starts_and_stops_nothing(
    served: Served, airflow: FakeAirflow, tmp_path: Path, becomes: str | None
) -> None:
    """And dagcall's own account does not stand in for it."""
    airflow.add_dag(waits())

    async with served(airflow, dags=["*"], accounts=[logging_in(tmp_path, "clerk")]) as dagcall:
        await briefly(dagcall, x=1)
        del airflow.access.users["clerk"]
        if becomes:
            airflow.access.users["clerk"] = FakeUser("clerk", becomes)
        airflow.access.revoke_tokens()
        started = await refusal(dagcall, "waits", x=2)
        stopped = await refusal(dagcall, "cancel_dag_run", tool="waits", dag_run_id=airflow.runs[0].run_id)

    assert started == f"Nothing was started: dagcall starts your runs {GONE.format('clerk')}"
    assert stopped == f"Nothing was changed: dagcall acts for you {GONE.format('clerk')}"
    assert [run.state for run in airflow.runs] != ["failed"]


async def test_an_account_whose_token_has_expired_starts_nothing(
    served: Served, airflow: FakeAirflow, tmp_path: Path
) -> None:
    airflow.add_dag(add())
    (tmp_path / "token").write_text(airflow.access.token("clerk", seconds=-60), encoding="utf-8")
    accounts = [{"callers": ["*"], "token_file": str(tmp_path / "token")}]

    async with served(airflow, dags=["*"], accounts=accounts) as dagcall:
        expired = await refusal(dagcall, "add", x=1)
        (tmp_path / "token").unlink()
        missing = await refusal(dagcall, "add", x=1)
        (tmp_path / "token").write_text(airflow.access.token("clerk"), encoding="utf-8")
        renewed = await answer(dagcall, "add", x=1)

    assert expired == f"Nothing was started: dagcall starts your runs {GONE.format('token')}"
    assert missing.startswith("Nothing was started: there is no token for Airflow: the file")
    assert str(tmp_path) not in missing
    assert renewed["results"] == {"total": 3}
    assert [run.triggering_user_name for run in airflow.runs] == ["clerk"]


async def test_whoever_has_no_account_starts_nothing(served: Served, airflow: FakeAirflow, tmp_path: Path) -> None:
    airflow.add_dag(add())

    async with served(airflow, dags=["*"], accounts=[logging_in(tmp_path, "clerk", "group:finance")]) as dagcall:
        text = await refusal(dagcall, "add", x=1)

    assert text.startswith("Nothing was changed: dagcall has no Airflow account for you.")
    assert airflow.runs == []


async def test_the_passwords_of_accounts_are_masked(served: Served, airflow: FakeAirflow, tmp_path: Path) -> None:
    def fail(_: Any) -> None:
        raise ValueError("it said clerk-password")

    airflow.add_dag(FakeDag("fails", tasks=[FakeTask("it", fail)]))

    async with served(airflow, dags=["*"], accounts=[logging_in(tmp_path, "clerk")]) as dagcall:
        text = await refusal(dagcall, "fails")

    assert "it said ***" in text


async def test_a_token_file_that_is_away_for_a_while_ends_nothing(
    served: Served, airflow: FakeAirflow, tmp_path: Path
) -> None:
    """Nor does a caller read where it lies."""
    airflow.add_dag(add())
    file = tmp_path / "token"
    login = {"username": None, "password": None, "token_file": str(file)}

    async with served(airflow, dags=["*"], airflow=login) as dagcall:
        airflow.access.revoke_tokens()
        file.unlink()
        problem = (await dagcall.catalog.refresh()).problem
        text = await refusal(dagcall, "add", x=1)
        file.write_text(airflow.access.token("admin"), encoding="utf-8")
        again = await answer(dagcall, "add", x=1)

    assert problem == "there is no token for Airflow: the file that holds the token cannot be read now"
    assert str(file) not in text
    assert again["results"] == {"total": 3}


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"username": "clerk"},
        {"password_file": "p"},
        {"username": "clerk", "password_file": "p", "is_own": True},
        {"token_file": "t", "is_own": True},
    ],
)
def test_an_entry_is_one_account(entry: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="give username and password_file, or token_file, or is_own = true"):
        Settings.model_validate({"accounts": [{"callers": ["*"], **entry}]})


def test_files_are_meant_from_the_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "dagcall.toml"
    file.write_text(
        '[audit]\nfile = "audit.jsonl"\n\n[[accounts]]\ncallers = ["*"]\ntoken_file = "token"\n', encoding="utf-8"
    )

    settings = load_settings(file, environ={})

    assert settings.audit.file == tmp_path / "audit.jsonl"
    assert settings.accounts[0].token_file == tmp_path / "token"
    assert settings.accounts[0].name == "token"


async def test_the_caller_is_in_the_conf_where_that_is_configured(served: Served, airflow: FakeAirflow) -> None:
    airflow.add_dag(FakeDag("d", params={"requested_by": "nobody"}))

    async with served(airflow, tools=[{"dag": "d", "identity_param": "requested_by"}]) as dagcall:
        await answer(dagcall, "d")
        forged = await refusal(dagcall, "d", requested_by="somebody")
        schema = dagcall.catalog.tool("d").wire.input_schema

    assert airflow.runs[0].conf == {"requested_by": "local"}
    assert "requested_by: there is no such argument" in forged
    assert schema["properties"] == {}


def test_an_identity_param_is_nothing_else() -> None:
    tool = {"dag": "d", "identity_param": "who", "fixed": {"who": "me"}}
    with pytest.raises(ValidationError, match="identity_param 'who' is also fixed or hidden"):
        Settings.model_validate({"tools": [tool]})
