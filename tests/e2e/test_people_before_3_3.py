"""Runs that wait for people, on an Airflow version in which a triggerer waits for the answer."""

import asyncio
import shutil
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from mcp import Client

from dagcall.app import assembled
from dagcall.settings.settings import Settings
from tests.contract.real_airflow import RealAirflow, real_airflow
from tests.e2e.conftest import DAGS
from tests.e2e.test_people import Person, content_of
from tests.support.terminal import terminal_of

SECONDS = 120


@pytest.fixture(scope="module")
def airflow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAirflow]:
    """Airflow 3.1.8 with a scheduler and a triggerer, and the dags of `dags/asking.py`."""
    dags = tmp_path_factory.mktemp("people") / "asking"
    dags.mkdir()
    shutil.copy(DAGS / "asking.py", dags)
    with real_airflow(
        "3.1.8",
        cache=request.config.cache.mkdir("airflow"),
        home=tmp_path_factory.mktemp("airflow-3.1.8"),
        tell=terminal_of(request.config),
        dags=dags,
        services=["scheduler", "triggerer"],
    ) as real:
        yield real


async def call(airflow: RealAirflow, mode: Literal["auto", "legacy"], tool: str, person: Person) -> dict[str, Any]:
    login = {"url": airflow.url, "username": "admin", "password": "admin"}
    settings = Settings.model_validate({"airflow": login, "tools": [{"dag": tool}]})
    async with asyncio.timeout(SECONDS), assembled(settings, wait_seconds=SECONDS) as dagcall:
        await dagcall.catalog.refresh()
        async with Client(dagcall.mcp.sdk, mode=mode, elicitation_callback=person) as client:
            return content_of(await client.call_tool(tool, {}))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_invalid_form_answer_is_asked_again(airflow: RealAirflow, mode: Literal["auto", "legacy"]) -> None:
    """This Airflow would accept the invalid first answer, and the task would fail.

    In 3.1 the form also contains the dag's params.
    """
    person = Person(approve=[{"answer": "Approve", "amount": 0}, {"answer": "Approve", "amount": 120}])
    content = await call(airflow, mode, "ask_approval", person)
    params = {"subject": "Go on?", "amount": 120, "note": None}
    assert content["results"] == {"told": {"approve0": {"chosen_options": ["Approve"], "params_input": params}}}
    assert person.asked[1].startswith("Your answer was not accepted:\n- amount: 0 is less than the minimum of 1\n")


async def test_several_questions_are_answered_at_once(airflow: RealAirflow) -> None:
    person = Person(each0=[{"answer": "Approve"}], each1=[{"answer": "Reject"}], other=[{}])
    content = await call(airflow, "auto", "ask_several", person)
    assert {name: found["chosen_options"] for name, found in content["results"]["told"].items()} == {
        "each0": ["Approve"],
        "each1": ["Reject"],
        "other0": ["OK"],
    }
