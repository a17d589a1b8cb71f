"""Arguments from the published schema to the task and back, over both transports and in both eras."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from dagcall.tools.client_limits import objections
from dagcall.tools.naming import property_name_from_param, tool_name_from_dag_id
from tests.support.clients import CONNECTIONS, connected, text_of
from tests.support.running_demo import RunningDemo

TOOL = tool_name_from_dag_id("7_arguments")
every_connection = pytest.mark.parametrize("connection", CONNECTIONS)


async def answer(client: Client, arguments: dict[str, Any]) -> dict[str, Any]:
    """Call the tool and return its answer."""
    result = await client.call_tool(TOOL, arguments)
    assert not result.is_error, text_of(result)
    assert isinstance(result.structured_content, dict)
    assert json.loads(text_of(result)) == result.structured_content
    return result.structured_content


def sent(**by_param: Any) -> dict[str, Any]:
    """Return arguments under their published names."""
    return {property_name_from_param(name): value for name, value in by_param.items()}


@every_connection
async def test_tools_meet_the_limits_of_all_clients(demo: RunningDemo, connection: str, tmp_path: Path) -> None:
    async with connected(demo, connection, tmp_path / "stderr") as client:
        tools = (await client.list_tools()).tools

    assert TOOL in {tool.name for tool in tools}
    wires = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]
    assert {wire["name"]: list(objections(wire)) for wire in wires} == {wire["name"]: [] for wire in wires}


@every_connection
async def test_renamed_and_unusually_typed_arguments_reach_the_task(
    demo: RunningDemo, connection: str, tmp_path: Path
) -> None:
    mark = str(uuid.uuid4())
    odd = {"config": mark, "self": "s", "_id": "i", "a.b": "d", "model_config": "m", "日期": "2026-02-03"}
    written = {"options": '{"k": [1.0]}', "count": 4.0, "counts": "[1, 2.0]", "maybe": ["x"], "point": {"x": 5.0}}
    many = {"word": "long-enough-1", "anything": {"n": 9007199254740993}}

    async with connected(demo, connection, tmp_path / "stderr", allowed="7_arguments") as client:
        content = await answer(client, sent(**odd, **written, **many))

    assert content["results"]["show"]["params"] == {
        **odd,
        **many,
        "options": {"k": [1]},
        "count": 4,
        "counts": [1, 2],
        "maybe": ["x"],
        "point": {"x": 5},
    }
    assert repr(content["results"]["show"]["params"]["counts"]) == "[1, 2]"
    assert content["exact_numbers"] == {
        "/show/params/anything/n": "9007199254740993",
        "/show/next": "9007199254740997",
    }


async def test_missing_and_null_arguments_get_the_default(demo: RunningDemo, tmp_path: Path) -> None:
    async with connected(demo, CONNECTIONS[0], tmp_path / "stderr") as client:
        content = await answer(client, sent(count=None, options=None, anything=str(uuid.uuid4())))

    params = content["results"]["show"]["params"]
    assert (params["count"], params["options"], params["self"], params["maybe"]) == (3, {}, "default", None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (sent(anything=[2**64]), "the number 18446744073709551616, which does not fit into 64 bits"),
        (sent(anything=1e20), "the number 1e+20, which does not fit into 64 bits"),
        (sent(word="nodigits!"), "word: 'nodigits!' does not match '^(?=.*\\\\d)\\\\S{8,}$'"),
        (sent(counts=["x"]), "counts[0]: 'x' is not of type 'integer'"),
    ],
)
async def test_invalid_arguments_start_nothing(
    demo: RunningDemo, tmp_path: Path, arguments: dict[str, Any], said: str
) -> None:
    before = demo.runs_of("7_arguments")

    async with connected(demo, CONNECTIONS[0], tmp_path / "stderr") as client:
        result = await client.call_tool(TOOL, arguments)

    assert result.is_error
    assert text_of(result).startswith("Nothing was started")
    assert said in text_of(result)
    assert demo.runs_of("7_arguments") == before
