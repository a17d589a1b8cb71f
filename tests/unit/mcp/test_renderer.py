"""Results that do not match their schema: the caller still gets them, and one warning is logged."""

from typing import Any

import pytest
from mcp import Client

from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask
from tests.support.in_memory import Served

DOC_MD = """Adds up.

```toml dagcall
[output_schema.properties.total]
type = "number"
description = "In EUR."
```
"""


async def call(client: Client, **arguments: Any) -> dict[str, Any]:
    """Call the tool as a client that checks structured content against the output schema."""
    await client.list_tools()
    result = await client.call_tool("add", arguments)
    assert not result.is_error
    assert isinstance(result.structured_content, dict)
    return result.structured_content


def an_airflow() -> FakeAirflow:
    airflow = FakeAirflow()
    airflow.add_dag(
        FakeDag("add", params={"value": None}, doc_md=DOC_MD, tasks=[FakeTask("total", lambda params: params["value"])])
    )
    return airflow


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_mismatched_result_still_reaches_the_caller(
    served: Served, caplog: pytest.LogCaptureFixture, mode: Any
) -> None:
    async with served(an_airflow()) as dagcall, Client(dagcall.mcp.sdk, mode=mode) as client:
        assert (await call(client, value=2))["results"] == {"total": 2}
        assert "not as" not in caplog.text

        for text in ("a", "b"):
            answer = await call(client, value=[text])
            assert "results" not in answer
            assert answer["unexpected_results"] == {"total": [text]}
            assert answer["message"].endswith("results.total: the value is not of type 'number'")

        told = [message for message in caplog.messages if "do not match the output_schema in its doc_md" in message]
        assert len(told) == 1
        assert told[0].startswith(f"dag add, run {caplog_run(told[0])}: ")


def caplog_run(message: str) -> str:
    """Return the run that a warning names."""
    return message.partition(", run ")[2].partition(":")[0]


async def test_schema_from_the_settings_is_checked_and_named(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    airflow = an_airflow()
    tools = [{"dag": "add", "output_schema": {"required": ["sum"]}}]

    async with served(airflow, tools=tools) as dagcall, Client(dagcall.mcp.sdk) as client:
        answer = await call(client, value=1)

    assert answer["unexpected_results"] == {"total": 1}
    assert "do not match the output_schema in the settings: results: 'sum' is a required property" in caplog.text
