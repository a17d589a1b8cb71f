"""The results that `dagcall.results` reads from successful runs, on the fake and on the real Airflow.

No task runs here. The tests write what workers and the scheduler would write, after they set the run to success:
before 3.3, this sets every task of the run to success as well.
"""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from dagcall.airflow.client import AirflowApi
from dagcall.airflow.credentials import Credentials, static_token
from dagcall.airflow.gate import Gate
from dagcall.airflow.model import Run
from dagcall.airflow.rest import AirflowRest
from dagcall.airflow.versions import RESULTS_THROUGH_WAIT
from dagcall.results.reader import ResultReader
from dagcall.results.results import Results
from dagcall.tools.policy import ToolPolicy
from dagcall.tools.tool import Tool, tool_from_dag
from tests.contract.fake_side import ContractAirflow
from tests.support.plain_http import PLAIN


@pytest.fixture
async def api(airflow: ContractAirflow) -> AsyncIterator[AirflowApi]:
    credentials = Credentials(static_token(airflow.token()), now=time.time)
    rest = AirflowRest(airflow.url, credentials, gate=Gate(), transport=airflow.transport, verify=PLAIN)
    yield AirflowApi(rest)
    await rest.aclose()


async def started(api: AirflowApi, dag_id: str, run_id: str, *results: str) -> tuple[Tool, Run]:
    tool = tool_from_dag(await api.fetch_dag(dag_id), ToolPolicy(dag=dag_id, results=results or None))
    return tool, await api.trigger(dag_id, run_id=run_id, conf={}, logical_date=None, note="")


async def test_run_has_the_version_of_its_dag(api: AirflowApi, run_id: str) -> None:
    _, run = await started(api, "one_task", run_id)
    assert run.dag_version == 1
    assert (await api.fetch_run("one_task", run_id)).dag_version == 1


async def test_run_set_to_success_changes_task_states_before_3_3(
    airflow: ContractAirflow, api: AirflowApi, http: httpx.AsyncClient, run_id: str
) -> None:
    await started(api, "grouped", run_id)
    airflow.set_task("grouped", run_id, "group.first", "failed")
    (await http.patch(f"/dags/grouped/dagRuns/{run_id}", json={"state": "success"})).raise_for_status()
    states = {i.task_id: i.state for i in await api.fetch_task_instances("grouped", run_id)}
    old, new = ("success", "success") if airflow.version < "3.3" else ("failed", "skipped")
    assert states == {"group.first": old, "group.inner": new, "group.other": new}


async def test_results_of_configured_tasks_in_a_group(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    tool, run = await started(api, "grouped", run_id, "group.first", "group.inner", "group.other")
    airflow.finish("grouped", run_id, "success")
    airflow.set_task("grouped", run_id, "group.first", "success")
    airflow.set_xcom(
        "grouped", run_id, "group.first", {"__classname__": "uuid.UUID", "__version__": 1, "__data__": "u"}
    )
    airflow.set_task("grouped", run_id, "group.inner", "success")
    airflow.set_task("grouped", run_id, "group.other", "skipped")
    expected = Results({"group.first": "u", "group.inner": None, "group.other": None}, skipped=("group.other",))
    assert await ResultReader(api).results(tool, run) == expected


async def test_results_of_the_leaf_tasks(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    tool, run = await started(api, "grouped", run_id)
    airflow.finish("grouped", run_id, "success")
    for task_id, value in (("group.other", 3), ("group.first", 1), ("group.inner", [float("nan"), float("-inf"), 2])):
        airflow.set_task("grouped", run_id, task_id, "success")
        airflow.set_xcom("grouped", run_id, task_id, value)
    expected = Results({"group.inner": [None, None, 2], "group.other": 3})
    assert await ResultReader(api).results(tool, run) == expected


async def test_declared_result_is_used_since_3_3(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    tool, run = await started(api, "declared_result", run_id)
    airflow.finish("declared_result", run_id, "success")
    airflow.set_xcom("declared_result", run_id, "answer", 42, is_result=True)
    airflow.set_xcom("declared_result", run_id, "afterwards", -42)
    is_there = await api.version() >= RESULTS_THROUGH_WAIT
    expected = Results({"answer": 42} if is_there else {"afterwards": -42})
    assert await ResultReader(api).results(tool, run) == expected


async def test_stream_without_task_ids_ends_with_the_declared_result(
    airflow: ContractAirflow, api: AirflowApi, run_id: str
) -> None:
    tool, run = await started(api, "declared_result", run_id)
    airflow.finish("declared_result", run_id, "success")
    airflow.set_xcom("declared_result", run_id, "answer", 42, is_result=True)
    airflow.set_xcom("declared_result", run_id, "afterwards", -42)
    asked = ResultReader(api).stream_task_ids(tool, run)
    assert asked == ()
    states = await api.stream_states("declared_result", run_id, interval_seconds=0.1, result_task_ids=asked)
    async with aclosing(states):
        *_, (_, seen) = [line async for line in states]
    assert seen == ({"answer": 42} if await api.version() >= RESULTS_THROUGH_WAIT else None)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        pytest.param({2: "c", 0: "a", 1: ["b"]}, ["a", ["b"], "c"], id="all"),
        pytest.param({2: "c"}, [None, None, "c"], id="only the last returned a value"),
        pytest.param({}, [None, None, None], id="none returned a value"),
    ],
)
async def test_results_of_a_mapped_task(
    airflow: ContractAirflow, api: AirflowApi, run_id: str, stored: dict[int, Any], expected: list[Any]
) -> None:
    tool, run = await started(api, "mapped_leaf", run_id)
    airflow.finish("mapped_leaf", run_id, "success")
    airflow.set_task("mapped_leaf", run_id, "double", "success")
    for index, value in stored.items():
        airflow.set_xcom("mapped_leaf", run_id, "double", value, map_index=index)
    assert await ResultReader(api).results(tool, run) == Results({"double": expected})


async def test_skipped_instances_of_a_mapped_task_are_listed(
    airflow: ContractAirflow, api: AirflowApi, run_id: str
) -> None:
    tool, run = await started(api, "mapped_leaf", run_id)
    airflow.finish("mapped_leaf", run_id, "success")
    airflow.set_task("mapped_leaf", run_id, "double", "skipped")
    airflow.set_xcom("mapped_leaf", run_id, "double", "b", map_index=1)
    expected = Results({"double": [None, "b", None]}, skipped=("double[0]", "double[2]"))
    assert await ResultReader(api).results(tool, run) == expected


@pytest.mark.parametrize("is_over", [True, False])
async def test_task_mapped_over_an_empty_list_has_an_empty_result(
    airflow: ContractAirflow, api: AirflowApi, run_id: str, *, is_over: bool
) -> None:
    tool, run = await started(api, "mapped", run_id, "double", "total")
    if is_over:
        airflow.finish("mapped", run_id, "success")
    airflow.set_task("mapped", run_id, "numbers", "success")
    airflow.skip_for_nothing_to_map("mapped", run_id, "double")
    airflow.set_task("mapped", run_id, "total", "skipped")
    expected = Results({"double": [], "total": None}, skipped=("total",))
    assert await ResultReader(api).results(tool, run, is_over=is_over) == expected


async def test_skipped_mapped_task_has_no_result(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    tool, run = await started(api, "mapped", run_id, "double")
    airflow.finish("mapped", run_id, "success")
    airflow.set_task("mapped", run_id, "numbers", "skipped")
    airflow.set_task("mapped", run_id, "double", "skipped")
    assert await ResultReader(api).results(tool, run) == Results({"double": None}, skipped=("double",))


async def test_unknown_result_task_is_reported_as_absent(
    airflow: ContractAirflow, api: AirflowApi, run_id: str
) -> None:
    tool, run = await started(api, "one_task", run_id, "nosuch", "add")
    airflow.finish("one_task", run_id, "success")
    airflow.set_xcom("one_task", run_id, "add", 2)
    airflow.set_task("one_task", run_id, "add", "success")
    assert await ResultReader(api).results(tool, run) == Results({"add": 2}, absent=("nosuch",))
