"""The log-ins of managed Airflows, with the clouds' own libraries in front of servers that behave as documented."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dagcall.airflow import google_token, mwaa_token
from dagcall.airflow.gate import Gate
from dagcall.errors import ConfigError
from tests.fake_airflow import FakeAirflow
from tests.server.test_calls import add, answer
from tests.support.in_memory import Served
from tests.support.managed_airflow import ENVIRONMENT, Composer, Mwaa

BY_NAME = {"username": None, "password": None}
MWAA = {**BY_NAME, "auth": "mwaa", "mwaa_environment": ENVIRONMENT, "aws_region": "eu-central-1"}
COMPOSER = {**BY_NAME, "auth": "composer"}


@pytest.fixture
def airflow() -> FakeAirflow:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    return airflow


@pytest.fixture
def mwaa(airflow: FakeAirflow, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mwaa]:
    mwaa = Mwaa(airflow)
    with mwaa.aws() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield mwaa


@pytest.fixture
def composer(airflow: FakeAirflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Composer]:
    composer = Composer(airflow)
    with composer.google(tmp_path) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield composer


async def test_mwaa_environment_is_called(served: Served, airflow: FakeAirflow, mwaa: Mwaa) -> None:
    async with served(airflow, dags=["*"], airflow=MWAA, transport=mwaa) as dagcall:
        first = await answer(dagcall, "add", x=1)
        airflow.access.revoke_tokens()
        second = await answer(dagcall, "add", x=2)

    assert [first["results"], second["results"]] == [{"total": 3}, {"total": 4}]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ((403, "AccessDeniedException"), "AWS did not log in to MWAA environment 'data': AccessDeniedException: no"),
        ((400, "ThrottlingException"), "AWS cannot log in to MWAA environment 'data': ThrottlingException: no"),
        ((500, "InternalServerException"), "AWS cannot log in to MWAA environment 'data': InternalServerException: no"),
    ],
)
async def test_refusal_of_aws_is_reported(
    served: Served, airflow: FakeAirflow, mwaa: Mwaa, error: tuple[int, str], sentence: str
) -> None:
    mwaa.error = error
    async with served(airflow, dags=["*"], airflow=MWAA, transport=mwaa) as dagcall:
        assert sentence in (dagcall.catalog.snapshot.problem or "")


async def test_unknown_mwaa_environment_is_reported(served: Served, airflow: FakeAirflow, mwaa: Mwaa) -> None:
    other = {**MWAA, "mwaa_environment": "other"}
    async with served(airflow, dags=["*"], airflow=other, transport=mwaa) as dagcall:
        problem = dagcall.catalog.snapshot.problem or ""
    assert "'other': ResourceNotFoundException" in problem


async def test_missing_aws_credentials_are_reported(
    served: Served, airflow: FakeAirflow, mwaa: Mwaa, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("HOME", str(tmp_path))
    async with served(airflow, dags=["*"], airflow=MWAA, transport=mwaa) as dagcall:
        problem = dagcall.catalog.snapshot.problem or ""
    assert "AWS gave no log-in for MWAA environment 'data': Unable to locate credentials" in problem


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (403, "with status 403 and no token: check that airflow.url is the address of that environment's UI"),
        (503, "cannot log in users now (503)"),
    ],
)
async def test_log_in_without_a_token_is_reported(
    served: Served, airflow: FakeAirflow, mwaa: Mwaa, status: int, sentence: str
) -> None:
    mwaa.log_in_status = status
    async with served(airflow, dags=["*"], airflow=MWAA, transport=mwaa) as dagcall:
        assert sentence in (dagcall.catalog.snapshot.problem or "")


async def test_composer_environment_is_called(served: Served, airflow: FakeAirflow, composer: Composer) -> None:
    async with served(airflow, dags=["*"], airflow=COMPOSER, transport=composer) as dagcall:
        first = await answer(dagcall, "add", x=1)
        composer.access_tokens.clear()  # Google redirects to its log-in page from now on
        second = await answer(dagcall, "add", x=2)

    assert [first["results"], second["results"]] == [{"total": 3}, {"total": 4}]
    assert composer.access_tokens == {"ya29.2"}


@pytest.mark.parametrize("error", [(400, "invalid_grant"), (503, "temporarily_unavailable")])
async def test_refusal_of_google_is_reported(
    served: Served, airflow: FakeAirflow, composer: Composer, error: tuple[int, str]
) -> None:
    composer.error = error
    async with served(airflow, dags=["*"], airflow=COMPOSER, transport=composer) as dagcall:
        problem = dagcall.catalog.snapshot.problem or ""
    assert "Google gave no access token" in problem
    assert error[1] in problem


async def test_missing_google_account_is_reported(
    served: Served, airflow: FakeAirflow, composer: Composer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nothing.json"))
    async with served(airflow, dags=["*"], airflow=COMPOSER, transport=composer) as dagcall:
        problem = dagcall.catalog.snapshot.problem or ""
    assert "Google gave no access token: File " in problem


async def test_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("dagcall.airflow.managed.import_module", nothing)
    with pytest.raises(ConfigError, match=r"needs boto3, which is not installed: pip install 'dagcall\[aws\]'"):
        mwaa_token("http://127.0.0.1", ENVIRONMENT, None, gate=Gate())
    with pytest.raises(ConfigError, match=r"needs google\.auth, which is not installed"):
        google_token()
