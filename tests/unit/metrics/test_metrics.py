"""How the duration of a message is measured, whatever becomes of it."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from mcp import MCPError
from mcp_types import CallToolResult
from pydantic import TypeAdapter, ValidationError

from tests.fake_airflow import FakeAirflow
from tests.server.test_calls import add
from tests.support.in_memory import Served
from tests.support.scraped import by_label, scraped

NAME = "mcp_server_operation_duration_seconds_count"


def invalid() -> ValidationError:
    with pytest.raises(ValidationError) as problem:
        TypeAdapter(int).validate_python("x")
    return problem.value


@pytest.mark.parametrize(
    ("outcome", "error", "code"),
    [
        pytest.param(CallToolResult(content=[]), "", "", id="result"),
        pytest.param(CallToolResult(content=[], is_error=True), "tool_error", "", id="error of the tool"),
        pytest.param({"isError": True}, "tool_error", "", id="error of the tool, as JSON"),
        pytest.param({"taskId": "t"}, "", "", id="task"),
        pytest.param(None, "", "", id="nothing, as for a notification"),
        pytest.param(MCPError(-32602, "no"), "-32602", "-32602", id="error of the protocol"),
        pytest.param(invalid(), "-32602", "-32602", id="invalid parameters"),
        pytest.param(asyncio.CancelledError(), "cancelled", "", id="cancelled"),
        pytest.param(KeyError("x"), "_OTHER", "", id="any other error"),
    ],
)
async def test_end_of_a_message_is_a_label(served: Served, outcome: Any, error: str, code: str) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    message: Any = SimpleNamespace(
        method="tools/call", params={"name": "add"}, protocol_version="2099-01-01", request=object()
    )

    async def handle(_: Any) -> Any:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async with served(airflow) as dagcall:
        if isinstance(outcome, BaseException):
            with pytest.raises(type(outcome)):
                await dagcall.metrics.watch(message, handle)
        else:
            assert await dagcall.metrics.watch(message, handle) is outcome
        labels = ("gen_ai_tool_name", "error_type", "rpc_response_status_code", "mcp_protocol_version")
        counts = by_label(scraped(dagcall), NAME, *labels, "network_transport")

    assert counts == {("add", error, code, "_OTHER", "tcp"): 1}
