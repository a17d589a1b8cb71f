"""What `dagcall doctor` asks about Airflow itself: the same on the fake and on real Airflows."""

import time
from collections.abc import AsyncIterator

import pytest

from dagcall.airflow.client import AirflowApi
from dagcall.airflow.credentials import Credentials, static_token
from dagcall.airflow.diagnosis import (
    fetch_auth_manager,
    fetch_broken_dags,
    fetch_heartbeats,
    fetch_option,
    fetch_unfinished_run,
    version_of,
)
from dagcall.airflow.gate import MAX_ANSWER_BYTES, Gate
from dagcall.airflow.http import Transport
from dagcall.airflow.rest import AirflowRest
from dagcall.errors import AirflowRefused
from tests.contract.fake_side import ContractAirflow
from tests.support.plain_http import PLAIN


@pytest.fixture
async def rest(airflow: ContractAirflow) -> AsyncIterator[AirflowRest]:
    credentials = Credentials(static_token(airflow.token()), now=time.time)
    rest = AirflowRest(airflow.url, credentials, gate=Gate(), transport=airflow.transport, verify=PLAIN)
    yield rest
    await rest.aclose()


@pytest.fixture
async def front(airflow: ContractAirflow) -> AsyncIterator[Transport]:
    front = Transport(airflow.url, read_seconds=30, max_answer_bytes=MAX_ANSWER_BYTES, transport=airflow.transport)
    yield front
    await front.aclose()


async def test_auth_manager_and_version_are_told_without_a_token(airflow: ContractAirflow, front: Transport) -> None:
    assert await fetch_auth_manager(front) == "Simple auth manager sub application"
    answer = await front.send("GET", "/api/v2/version", headers={}, is_effect_possible=False)
    assert version_of(answer) == airflow.version
    missing = await front.send("GET", "/api/v1/version", headers={}, is_effect_possible=False)
    assert version_of(missing) is None


async def test_scheduler_that_never_ran_is_unhealthy(rest: AirflowRest) -> None:
    heartbeats = await fetch_heartbeats(rest)
    assert heartbeats["metadatabase"].status == "healthy"
    assert (heartbeats["scheduler"].status, heartbeats["scheduler"].last) == ("unhealthy", None)


async def test_options_are_refused_by_default(rest: AirflowRest) -> None:
    with pytest.raises(AirflowRefused):
        await fetch_option(rest, "core", "dag_run_conf_overrides_params")


@pytest.mark.parametrize("airflow", ["fake-3.3.2-open", "real-3.3.2-open"], indirect=True)
async def test_exposed_options_are_read(rest: AirflowRest) -> None:
    assert await fetch_option(rest, "core", "dag_run_conf_overrides_params") == "True"
    assert await fetch_option(rest, "core", "no_such_option") is None
    assert await fetch_option(rest, "api", "base_url") is None


async def test_unfinished_run_is_found(rest: AirflowRest, airflow: ContractAirflow, run_id: str) -> None:
    await AirflowApi(rest).trigger("one_task", run_id=run_id, conf={}, logical_date=None, note="")
    assert await fetch_unfinished_run(rest) == ("one_task", run_id)
    airflow.finish("one_task", run_id, "success")
    assert await fetch_unfinished_run(rest) != ("one_task", run_id)


async def test_broken_dags_are_listed(rest: AirflowRest) -> None:
    assert await fetch_broken_dags(rest) == ()
