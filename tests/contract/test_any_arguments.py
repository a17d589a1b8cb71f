"""Arguments that pass dagcall's validation are accepted or rejected by Airflow, but never cause a server error."""

import asyncio
import time
import uuid
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, given, settings

from dagcall.airflow.client import AirflowApi, DagQuery
from dagcall.airflow.credentials import Credentials, static_token
from dagcall.airflow.gate import Gate
from dagcall.airflow.rest import AirflowRest
from dagcall.errors import AirflowRejected, InvalidArguments, ToolUnpublishable
from dagcall.tools.client_limits import objections
from dagcall.tools.policy import ToolPolicy
from dagcall.tools.tool import Tool, tool_from_dag, wire_json
from tests.contract.fake_side import ContractAirflow
from tests.support.any_arguments import any_arguments, grown
from tests.support.plain_http import PLAIN


async def tools_with_params(api: AirflowApi) -> list[Tool]:
    tools = []
    for summary in await api.fetch_dags(DagQuery(tag="params")):
        with suppress(ToolUnpublishable):
            tools.append(tool_from_dag(await api.fetch_dag(summary.dag_id), ToolPolicy(dag=summary.dag_id)))
    return [tool for tool in tools if tool.input.properties]


async def test_published_tools_meet_the_limits_of_all_clients(airflow: ContractAirflow) -> None:
    rest = AirflowRest(
        airflow.url,
        Credentials(static_token(airflow.token()), now=time.time),
        gate=Gate(),
        transport=airflow.transport,
        verify=PLAIN,
    )
    tools = {tool.dag_id: tool for tool in await tools_with_params(AirflowApi(rest))}
    await rest.aclose()

    assert {"awkward_params", "odd_param_names", "plain_default_params", "schema_params"} <= tools.keys()
    assert {name: list(objections(wire_json(tool.wire))) for name, tool in tools.items()} == {
        name: [] for name in tools
    }


async def test_validated_arguments_never_cause_an_airflow_error(airflow: ContractAirflow) -> None:
    rest = AirflowRest(
        airflow.url,
        Credentials(static_token(airflow.token()), now=time.time),
        gate=Gate(),
        transport=airflow.transport,
        verify=PLAIN,
    )
    api = AirflowApi(rest)
    loop = asyncio.get_running_loop()
    started = 0

    async def call(tool: Tool, arguments: dict[str, Any]) -> None:
        nonlocal started
        with suppress(InvalidArguments, AirflowRejected):
            conf = tool.input.conf_from_arguments(arguments, tool=tool.name)
            run_id = f"mcp__{uuid.uuid4().hex}"
            await api.trigger(tool.dag_id, run_id=run_id, conf=conf, logical_date=None, note="")
            started += 1

    def try_any(tool: Tool) -> None:
        @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(any_arguments(tool.input.properties))
        def try_it(arguments: dict[str, Any]) -> None:
            asyncio.run_coroutine_threadsafe(call(tool, grown(arguments)), loop).result(30)

        try_it()

    for tool in await tools_with_params(api):
        await asyncio.to_thread(try_any, tool)
    await rest.aclose()
    assert started > 0
