"""What Airflow shows of a dag whose file was parsed again, on the fake and on the real Airflow."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import cast

import pytest

from dagcall.airflow.client import AirflowApi, DagQuery
from dagcall.airflow.credentials import Credentials, static_token
from dagcall.airflow.gate import Gate
from dagcall.airflow.model import DagSummary, DagVersion
from dagcall.airflow.rest import AirflowRest
from tests.contract.conftest import AIRFLOWS
from tests.contract.fake_side import ContractAirflow, FakeSide
from tests.contract.real_airflow import parser_of, real_airflow
from tests.fake_airflow import FakeAirflow, FakeDag, Version
from tests.support.plain_http import PLAIN
from tests.support.terminal import terminal_of

FILE = """\
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("changing", schedule=None, params={"x": VALUE}):
    EmptyOperator(task_id="nothing")
"""


@dataclass
class Changing:
    """An Airflow with one dag whose file changes."""

    airflow: ContractAirflow
    write: Callable[[int], None]
    """Sets the default of the dag's param, and lets Airflow parse the file."""


@pytest.fixture(scope="module", params=AIRFLOWS)
def changing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Changing]:
    kind, version = cast("str", request.param).split("-")
    if kind == "fake":
        yield _changing_fake(cast("Version", version))
        return
    dags = tmp_path_factory.mktemp("dags") / "changing"
    dags.mkdir()
    (dags / "changing.py").write_text(FILE.replace("VALUE", "1"))
    with (
        real_airflow(
            cast("Version", version),
            cache=request.config.cache.mkdir("airflow"),
            home=tmp_path_factory.mktemp(f"airflow-{version}"),
            tell=terminal_of(request.config),
            dags=dags,
        ) as real,
        parser_of(real, dags) as parse,
    ):

        def write(value: int) -> None:
            (dags / "changing.py").write_text(FILE.replace("VALUE", str(value)))
            parse()

        yield Changing(real, write)


def _changing_fake(version: Version) -> Changing:
    fake = FakeAirflow(version)
    fake.parses = False
    dag = fake.add_dag(FakeDag("changing", params={"x": 1}))

    def write(value: int) -> None:
        if dag.params == {"x": value}:
            fake.parse(dag)
            return
        dag.params = {"x": value}
        fake.rewrite(dag)

    return Changing(FakeSide(fake), write)


@pytest.fixture
async def api(changing: Changing) -> AsyncIterator[AirflowApi]:
    airflow = changing.airflow
    credentials = Credentials(static_token(airflow.token()), now=time.time)
    rest = AirflowRest(airflow.url, credentials, gate=Gate(), transport=airflow.transport, verify=PLAIN)
    yield AirflowApi(rest)
    await rest.aclose()


@dataclass(frozen=True)
class Shown:
    listed: DagSummary
    versions: tuple[DagVersion, ...]
    value: object

    def was_parsed_before(self, later: "Shown") -> bool:
        assert self.listed.parsed_at is not None
        assert later.listed.parsed_at is not None
        return self.listed.parsed_at < later.listed.parsed_at


async def shown(api: AirflowApi) -> Shown:
    (listed,) = await api.fetch_dags(DagQuery())
    dag = await api.fetch_dag("changing")
    return Shown(listed, await api.fetch_versions(), dag.params[0].value)


async def test_list_and_versions_show_each_change_as_far_as_airflow_does(changing: Changing, api: AirflowApi) -> None:
    first = await shown(api)
    assert await shown(api) == first
    assert (await shown(api)).listed.parsed_at == first.listed.parsed_at

    await asyncio.to_thread(changing.write, 1)
    unchanged = await shown(api)
    assert unchanged == first
    assert first.was_parsed_before(unchanged)

    await asyncio.to_thread(changing.write, 2)
    in_place = await shown(api)
    assert in_place.value == 2
    assert (in_place.listed, in_place.versions) == (first.listed, first.versions)
    assert unchanged.was_parsed_before(in_place)

    await api.trigger("changing", run_id="mcp__changing", conf={}, logical_date=None, note="")
    await asyncio.to_thread(changing.write, 3)
    new_version = await shown(api)
    assert new_version.value == 3
    assert new_version.listed == first.listed
    assert in_place.was_parsed_before(new_version)
    newest, before = new_version.versions
    assert (before,) == first.versions
    assert newest.number == before.number + 1
    assert newest.version_id > before.version_id
