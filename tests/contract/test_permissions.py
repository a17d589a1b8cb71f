"""Rights are told without using them: the same on the fake and on real Airflows, and nothing is started or logged."""

import time
from collections.abc import AsyncIterator

import httpx
import pytest

from dagcall.airflow.credentials import Credentials, static_token
from dagcall.airflow.gate import Gate
from dagcall.airflow.permissions import (
    CHANGE_RUNS,
    LIST_DAGS,
    READ_DAG,
    READ_LOGS,
    READ_QUESTIONS,
    READ_RUNS,
    READ_TASK_INSTANCES,
    READ_TASKS,
    READ_VERSIONS,
    READ_XCOMS,
    START_RUNS,
    Permission,
    Right,
    fetch_right,
)
from dagcall.airflow.rest import AirflowRest
from dagcall.airflow.versions import version_in
from tests.contract.fake_side import ContractAirflow
from tests.support.plain_http import PLAIN

READING = {
    "list dags": LIST_DAGS,
    "read dag": READ_DAG,
    "read tasks": READ_TASKS,
    "read runs": READ_RUNS,
    "read task instances": READ_TASK_INSTANCES,
    "read XComs": READ_XCOMS,
    "read logs": READ_LOGS,
    "read questions": READ_QUESTIONS,
    "read versions": READ_VERSIONS,
}
CHANGING = {"start runs": START_RUNS, "change runs": CHANGE_RUNS}


@pytest.fixture(params=["admin", "viewer"])
async def rest(request: pytest.FixtureRequest, airflow: ContractAirflow) -> AsyncIterator[AirflowRest]:
    credentials = Credentials(static_token(airflow.token(request.param)), now=time.time)
    rest = AirflowRest(airflow.url, credentials, gate=Gate(), transport=airflow.transport, verify=PLAIN)
    yield rest
    await rest.aclose()


async def right(rest: AirflowRest, airflow: ContractAirflow, permission: Permission) -> Right:
    return await fetch_right(rest, permission, "one_task", version_in(airflow.version))


@pytest.mark.parametrize("name", READING)
async def test_rights_to_read_are_granted(rest: AirflowRest, airflow: ContractAirflow, name: str) -> None:
    assert await right(rest, airflow, READING[name]) is Right.GRANTED


@pytest.mark.parametrize("name", CHANGING)
@pytest.mark.parametrize(
    ("rest", "told"), [("admin", Right.GRANTED), ("viewer", Right.REFUSED)], indirect=["rest"], ids=["admin", "viewer"]
)
async def test_rights_to_change_are_told_without_a_change(
    rest: AirflowRest, airflow: ContractAirflow, http: httpx.AsyncClient, name: str, told: Right
) -> None:
    async def traces() -> tuple[int, int]:
        runs = (await http.get("/dags/one_task/dagRuns", params={"limit": 1})).raise_for_status().json()
        if airflow.transport is not None:  # the fake has no audit log
            return runs["total_entries"], 0
        logged = (await http.get("/eventLogs", params={"limit": 1})).raise_for_status().json()
        return runs["total_entries"], logged["total_entries"]

    before = await traces()
    assert await right(rest, airflow, CHANGING[name]) is told
    assert await traces() == before
