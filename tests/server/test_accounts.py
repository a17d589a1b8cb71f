"""Airflow accounts: dagcall starts, cancels and answers with the caller's account, and reads with its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dagcall.airflow import Gate, airflow_clock
from dagcall.errors import ConfigError
from dagcall.log_ins import credentials_for
from dagcall.settings import AccountSettings
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
    """Airflow with a `clerk` account that may start runs, and files with passwords and a token."""
    airflow = FakeAirflow()
    airflow.access.users["clerk"] = FakeUser("clerk", "clerk-password")
    (tmp_path / "clerk").write_text("clerk-password", encoding="utf-8")
    (tmp_path / "viewer").write_text("viewer", encoding="utf-8")
    (tmp_path / "token").write_text(airflow.access.token("clerk"), encoding="utf-8")
    return airflow


def logging_in(folder: Path, user: str, *callers: str) -> dict[str, Any]:
    return {"callers": callers or ["*"], "username": user, "password_file": str(folder / user)}


async def test_run_is_started_with_the_callers_account(served: Served, airflow: FakeAirflow, tmp_path: Path) -> None:
    airflow.add_dag(add())
    accounts = [logging_in(tmp_path, "viewer", "key:ci"), logging_in(tmp_path, "clerk", "local")]

    async with served(airflow, dags=["*"], accounts=accounts) as dagcall:
        content = await answer(dagcall, "add", x=1)

    assert content["results"] == {"total": 3}
    assert airflow.runs[0].triggering_user_name == "clerk"
    assert airflow.access.logins == 2


async def test_account_can_use_a_token_file(served: Served, airflow: FakeAirflow, tmp_path: Path) -> None:
    airflow.add_dag(add())
    accounts = [{"callers": ["*"], "token_file": str(tmp_path / "token")}]

    async with served(airflow, dags=["*"], accounts=accounts) as dagcall:
        await answer(dagcall, "add", x=1)

    assert airflow.runs[0].triggering_user_name == "clerk"


@pytest.mark.parametrize(
    "entry",
    [
        {"username": "clerk", "password": "clerk-password"},
        {"client_id": "clerk", "client_secret": "clerk-secret"},
        {"token": "{token}"},
        {"token_command": "echo {token}"},
    ],
    ids=lambda entry: next(iter(entry)),
)
async def test_account_can_log_in_in_every_way_of_the_airflow_table(
    served: Served, airflow: FakeAirflow, entry: dict[str, str]
) -> None:
    airflow.add_dag(add())
    airflow.access.clients["clerk"] = "clerk-secret"
    token = airflow.access.token("clerk")
    account = {"callers": ["*"], **{key: value.format(token=token) for key, value in entry.items()}}

    async with served(airflow, dags=["*"], accounts=[account]) as dagcall:
        await answer(dagcall, "add", x=1)

    assert airflow.runs[0].triggering_user_name == "clerk"


async def test_is_own_starts_runs_with_dagcalls_account(served: Served, airflow: FakeAirflow) -> None:
    airflow.add_dag(add())

    async with served(airflow, dags=["*"], accounts=[{"callers": ["local"], "is_own": True}]) as dagcall:
        await answer(dagcall, "add", x=1)

    assert airflow.runs[0].triggering_user_name == "admin"


async def test_account_without_permission_starts_nothing(served: Served, airflow: FakeAirflow, tmp_path: Path) -> None:
    airflow.add_dag(add())

    async with served(airflow, dags=["*"], accounts=[logging_in(tmp_path, "viewer")]) as dagcall:
        text = await refusal(dagcall, "add", x=1)

    assert text == (
        "Nothing was started: dagcall starts your runs with Airflow's account 'viewer', and Airflow does not let it "
        "run dag add. Airflow's administrator can change that."
    )
    assert airflow.runs == []


async def test_account_without_permission_cancels_nothing(served: Served, airflow: FakeAirflow, tmp_path: Path) -> None:
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
async def test_refused_hitl_answer_names_the_account(
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
async def test_question_assigned_to_other_users_is_not_asked(
    served: Served, airflow: FakeAirflow, tmp_path: Path, mode: Mode
) -> None:
    """Not even if it is assigned to dagcall's own account, which never answers for a caller."""
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
async def test_account_that_can_no_longer_log_in_starts_and_cancels_nothing(
    served: Served, airflow: FakeAirflow, tmp_path: Path, becomes: str | None
) -> None:
    """dagcall's own account does not replace it."""
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


async def test_account_with_an_expired_token_starts_nothing(
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


async def test_caller_without_an_account_starts_nothing(served: Served, airflow: FakeAirflow, tmp_path: Path) -> None:
    airflow.add_dag(add())

    async with served(airflow, dags=["*"], accounts=[logging_in(tmp_path, "clerk", "group:finance")]) as dagcall:
        text = await refusal(dagcall, "add", x=1)

    assert text.startswith("Nothing was changed: dagcall has no Airflow account for you.")
    assert airflow.runs == []


async def test_account_passwords_are_masked(served: Served, airflow: FakeAirflow, tmp_path: Path) -> None:
    def fail(_: Any) -> None:
        raise ValueError("it said clerk-password")

    airflow.add_dag(FakeDag("fails", tasks=[FakeTask("it", fail)]))

    async with served(airflow, dags=["*"], accounts=[logging_in(tmp_path, "clerk")]) as dagcall:
        text = await refusal(dagcall, "fails")

    assert "it said ***" in text


async def test_missing_token_file_is_read_again_once_it_is_back(
    served: Served, airflow: FakeAirflow, tmp_path: Path
) -> None:
    """Its path is not shown to callers."""
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


@pytest.mark.parametrize("way", ["token_file", "password_file", "client_secret_file"])
async def test_unusable_file_of_an_account_is_named_with_its_table(tmp_path: Path, way: str) -> None:
    names = {"password_file": {"username": "clerk"}, "client_secret_file": {"client_id": "c"}}
    account = AccountSettings.model_validate({"callers": ["*"], way: tmp_path / "none", **names.get(way, {})})
    with pytest.raises(ConfigError, match=rf"^accounts\.{way}: .*none cannot be read: No such file"):
        credentials_for(account, "http://airflow.test", Gate(), airflow_clock())


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({}, r"give one way to log in, as in \[airflow\], or is_own = true"),
        ({"username": "clerk"}, "username needs password_file or password"),
        ({"password_file": "p"}, "password_file needs username"),
        ({"client_id": "c"}, "client_id needs client_secret_file or client_secret"),
        ({"username": "clerk", "password_file": "p", "is_own": True}, "give one way to log in"),
        ({"token_file": "t", "is_own": True}, "give one way to log in"),
        ({"token_file": "t", "auth": "composer"}, "token_file and auth contradict each other"),
        ({"auth": "mwaa"}, 'auth = "mwaa" and mwaa_environment need each other'),
        ({"auth": "composer", "aws_region": "r"}, 'aws_region needs auth = "mwaa"'),
    ],
)
def test_account_needs_exactly_one_way_to_log_in(entry: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Settings.model_validate({"accounts": [{"callers": ["*"], **entry}]})


def test_file_paths_are_relative_to_the_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "dagcall.toml"
    file.write_text(
        '[audit]\nfile = "audit.jsonl"\n\n[[accounts]]\ncallers = ["*"]\ntoken_file = "token"\n', encoding="utf-8"
    )

    settings = load_settings(file, environ={})

    assert settings.audit.file == tmp_path / "audit.jsonl"
    assert settings.accounts[0].token_file == tmp_path / "token"
    assert settings.accounts[0].name == "token"


async def test_identity_param_is_set_to_the_caller(served: Served, airflow: FakeAirflow) -> None:
    airflow.add_dag(FakeDag("d", params={"requested_by": "nobody"}))

    async with served(airflow, tools=[{"dag": "d", "identity_param": "requested_by"}]) as dagcall:
        await answer(dagcall, "d")
        forged = await refusal(dagcall, "d", requested_by="somebody")
        schema = dagcall.catalog.tool("d").wire.input_schema

    assert airflow.runs[0].conf == {"requested_by": "local"}
    assert "requested_by: there is no such argument" in forged
    assert schema["properties"] == {}


def test_identity_param_cannot_also_be_fixed() -> None:
    tool = {"dag": "d", "identity_param": "who", "fixed": {"who": "me"}}
    with pytest.raises(ValidationError, match="identity_param 'who' is also fixed or hidden"):
        Settings.model_validate({"tools": [tool]})
