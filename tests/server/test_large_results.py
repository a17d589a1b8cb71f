"""Results too large for one answer, from the SDK's client to the fake Airflow and back, in both protocol eras."""

import asyncio
import json
from itertools import pairwise
from typing import Any, Literal

import httpx
import pytest
from mcp import Client, MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, CallToolResult, ResourceLink, TextContent, TextResourceContents

from dagcall.airflow.model import RunState
from dagcall.app import Dagcall
from dagcall.mcp.answers import RESULTS_URI, call_result
from dagcall.mcp.resources import PartOfResult
from dagcall.results.preview import json_size
from dagcall.runs.answer import Answer
from dagcall.settings.server import LARGEST_ANSWER_BYTES
from dagcall.tools.tool import READ_TOOL_NAME, own_tools
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask, Fault
from tests.fake_airflow.questions import Version
from tests.support.in_memory import Served

Mode = Literal["auto", "legacy"]
VERSIONS: tuple[Version, ...] = ("3.1.8", "3.2.2", "3.3.2")
LIMIT = 100_000

ROWS = [{"id": number, "name": f"row {number}"} for number in range(10_000)]
TEXT = "".join(f"line {number}: ü\n" for number in range(20_000))


def returning(value: Any, version: Version = "3.3.2") -> FakeAirflow:
    airflow = FakeAirflow(version)
    airflow.add_dag(FakeDag("big", tasks=[FakeTask("it", lambda _: value)]))
    return airflow


def bytes_of(value: Any) -> int:
    """Return the size of a value as compact JSON."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


async def call(dagcall: Dagcall, name: str, mode: Mode = "auto", /, **arguments: Any) -> CallToolResult:
    async with asyncio.timeout(60), Client(dagcall.mcp.sdk, mode=mode) as client:
        return await client.call_tool(name, arguments)


def content_of(result: CallToolResult) -> dict[str, Any]:
    """Return the structured content, and check that it equals the first block."""
    text = result.content[0]
    assert isinstance(text, TextContent)
    assert not result.is_error, text.text
    assert len(text.text.encode()) <= LIMIT
    assert json.loads(text.text) == result.structured_content
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def refusal(dagcall: Dagcall, **arguments: Any) -> str:
    result = await call(dagcall, READ_TOOL_NAME, **arguments)
    assert result.is_error
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


async def started(dagcall: Dagcall) -> str:
    """Call the dag and return the run id."""
    result = await call(dagcall, "big")
    return str((result.structured_content or {})["dag_run_id"])


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_large_result_is_answered_with_a_preview_and_a_link(served: Served, mode: Mode) -> None:
    airflow = returning(ROWS)

    async with served(airflow) as dagcall:
        result = await call(dagcall, "big", mode)

    content = content_of(result)
    (run,) = airflow.runs
    assert content == {
        "state": "success",
        "dag_run_id": run.run_id,
        "preview": {"it": ROWS[:20]},
        "omitted": [{"path": "/it", "what": "items 20 to 9,999 of 10,000"}],
        "size_bytes": bytes_of({"it": ROWS}),
        "message": (
            f"The results are {bytes_of({'it': ROWS}):,} bytes of JSON, more than the limit of 100,000 for one "
            "answer: preview is an excerpt, and omitted lists what it leaves out. To read the rest in "
            "parts, call read_dag_result with tool 'big', this dag_run_id and a path such as '/it'."
        ),
        "url": f"http://airflow.test/dags/big/runs/{run.run_id}",
    }
    assert result.content[1:] == [
        ResourceLink(
            name="big results",
            title="Results of big",
            uri=f"dagcall://runs/big/{run.run_id}/results",
            description=f"The results of run {run.run_id}; read them in parts.",
            mime_type="application/json",
            size=content["size_bytes"],
        )
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("value", [pytest.param(ROWS, id="rows"), pytest.param(TEXT, id="text")])
async def test_parts_add_up_to_the_whole_result(served: Served, version: Version, value: Any) -> None:
    airflow = returning(value, version)
    parts: list[dict[str, Any]] = []

    async with served(airflow) as dagcall:
        place: dict[str, Any] = {"tool": "big", "dag_run_id": await started(dagcall), "path": "/it"}
        offset: int | None = 0
        while offset is not None:
            parts.append(content_of(await call(dagcall, READ_TOOL_NAME, **place, offset=offset)))
            offset = parts[-1].get("next_offset")

    assert len(parts) > 3
    assert {part["total"] for part in parts} == {len(value)}
    assert all(part["offset"] == before["next_offset"] for before, part in pairwise(parts))
    whole = (
        "".join(part["value"] for part in parts) if value is TEXT else [row for part in parts for row in part["value"]]
    )
    assert whole == value


async def test_caller_can_set_offset_and_limit(served: Served) -> None:
    async with served(returning(ROWS)) as dagcall:
        run_id = await started(dagcall)
        content = content_of(
            await call(dagcall, READ_TOOL_NAME, tool="big", dag_run_id=run_id, path="/it", offset="5", limit=2)
        )

    assert content == {"value": ROWS[5:7], "offset": 5, "total": 10_000, "next_offset": 7}


async def test_paging_fetches_the_results_once_per_replica(served: Served) -> None:
    airflow = returning(ROWS)

    async with served(airflow) as dagcall, served(airflow) as replica:
        place: dict[str, Any] = {"tool": "big", "dag_run_id": await started(dagcall), "path": "/it", "limit": 1}
        fetched = []
        for reader in (dagcall, dagcall, replica):
            before = len(airflow.requests_to("wait"))
            assert content_of(await call(reader, READ_TOOL_NAME, **place))["value"] == ROWS[:1]
            fetched.append(len(airflow.requests_to("wait")) - before)

    assert fetched == [1, 0, 1]


async def test_answer_size_limit_is_configurable(served: Served) -> None:
    airflow = returning(ROWS)

    async with served(airflow, dags=["*"], server={"max_result_bytes": 10_000}) as dagcall:
        content = content_of(await call(dagcall, "big"))
        part = content_of(await call(dagcall, READ_TOOL_NAME, tool="big", dag_run_id=content["dag_run_id"], path="/it"))

    assert bytes_of(content) < 5_000
    assert 9_000 < bytes_of(part) <= 10_000


@pytest.mark.parametrize("letter", ["é", '"', "\x01", "東", "🜚"])
async def test_largest_answer_stays_below_the_clients_limit_of_one_mebibyte(served: Served, letter: str) -> None:
    """The SDK sends ASCII-only JSON (2026-07-28, HTTP) that contains the answer twice."""
    whole = letter * ((LARGEST_ANSWER_BYTES - 200) // (json_size(letter) - 2))

    async with served(returning(whole)) as dagcall:
        answer = Answer(RunState.SUCCESS, "mcp__1", "http://airflow.test", {"it": whole})
        result = call_result(dagcall.catalog.tool("big"), answer, max_bytes=LARGEST_ANSWER_BYTES)

    assert result.structured_content is not None
    assert result.structured_content["results"] == {"it": whole}
    assert len(json.dumps(result.model_dump(mode="json", by_alias=True))) < 2**20


# Refused reads


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param({"path": "/at"}, "path: there is no 'at' at the top; there are it", id="no such path"),
        pytest.param(
            {"tool": "bug"},
            "Nothing was started: invalid arguments for read_dag_result.\n"
            "- tool: there is no tool 'bug'; did you mean 'big'?",
            id="no such tool",
        ),
        pytest.param(
            {"offset": -1, "limit": 0, "dag_run_id": 1, "paht": ""},
            "Nothing was started: invalid arguments for read_dag_result.\n"
            "- dag_run_id: it should be a valid string\n"
            "- offset: it should be greater than or equal to 0\n"
            "- limit: it should be greater than or equal to 1\n"
            "- paht: there is no such argument; did you mean 'path'?",
            id="bad arguments",
        ),
    ],
)
async def test_invalid_arguments_are_named(served: Served, arguments: dict[str, Any], said: str) -> None:
    async with served(returning(ROWS)) as dagcall:
        place = {"tool": "big", "dag_run_id": await started(dagcall), **arguments}
        assert await refusal(dagcall, **place) == said


async def test_missing_arguments_are_named(served: Served) -> None:
    async with served(returning(ROWS)) as dagcall:
        assert (await refusal(dagcall)).splitlines()[1:] == ["- tool: required", "- dag_run_id: required"]


async def test_run_of_another_caller_is_reported_as_unknown(served: Served) -> None:
    airflow = returning(ROWS)

    async with served(airflow) as dagcall, served(airflow, dags=["*"], server={"secret": "other"}) as stranger:
        run_id = await started(dagcall)
        text = await refusal(stranger, tool="big", dag_run_id=run_id)
        async with Client(stranger.mcp.sdk) as client:
            with pytest.raises(MCPError) as refused:
                await client.read_resource(f"dagcall://runs/big/{run_id}/results")

    assert text == f"there is no run {run_id!r} that you started with tool big"
    assert refused.value.error.code == INVALID_PARAMS


async def test_unfinished_run_has_no_results_to_read(served: Served) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("big", tasks=[FakeTask("it", lambda _: ROWS)], checks=None))

    async with served(airflow, wait_seconds=0.01) as dagcall:
        run_id = await started(dagcall)
        assert await refusal(dagcall, tool="big", dag_run_id=run_id) == (
            f"Run {run_id} of dag big is queued, so there are no results to read. Call wait_for_dag_run with tool "
            "'big' and this run id to wait for them."
        )


async def test_failed_run_has_no_results_to_read(served: Served) -> None:
    def explode(_: Any) -> None:
        raise ValueError("no such region")

    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("big", tasks=[FakeTask("it", explode)]))

    async with served(airflow) as dagcall:
        await call(dagcall, "big")
        (run,) = airflow.runs
        assert await refusal(dagcall, tool="big", dag_run_id=run.run_id) == (
            f"Run {run.run_id} of dag big failed, so there are no results to read. Call wait_for_dag_run with tool "
            "'big' and this run id to see why it failed."
        )


async def test_ready_results_are_readable_while_the_run_continues(served: Served) -> None:
    airflow = FakeAirflow()
    tasks = [FakeTask("it", lambda _: ROWS, downstream=["after"]), FakeTask("after", lambda _: None)]
    airflow.add_dag(FakeDag("big", tasks=tasks, checks=None))
    tool = {"dag": "big", "results": ["it"], "return_when": "results_ready"}

    async with served(airflow, wait_seconds=0.01, tools=[tool]) as dagcall:
        place = {"tool": "big", "dag_run_id": await started(dagcall), "path": "/it/7"}
        (run,) = airflow.runs
        airflow.start(run)
        assert "is running, so there are no results to read" in await refusal(dagcall, **place)
        run.set_xcom("it", ROWS, airflow.clock.now())
        (instance,) = run.instances_of("it")
        instance.start(airflow.clock.now())
        instance.end("success", airflow.clock.now())
        content = content_of(await call(dagcall, READ_TOOL_NAME, **place))

    assert content == {"value": ROWS[7], "offset": 0, "total": 2}


# Integers that JavaScript rounds

IDS = [1915883588174806058 + number for number in range(4_000)]


async def test_large_integers_are_repeated_as_text(served: Served) -> None:
    async with served(returning({"a/b": [2**53 + 1, 2**53, -(2**60), 1.5e300, True], "small": 1})) as dagcall:
        content = content_of(await call(dagcall, "big"))

    assert content["exact_numbers"] == {"/it/a~1b/0": "9007199254740993", "/it/a~1b/2": "-1152921504606846976"}
    assert content["results"]["it"]["a/b"][0] == 2**53 + 1


@pytest.mark.parametrize("declared", [{"type": "array"}, {"type": "string"}])
async def test_large_integers_are_repeated_whether_or_not_the_schema_matches(
    served: Served, declared: dict[str, Any]
) -> None:
    tools = [{"dag": "big", "output_schema": {"properties": {"it": declared}}}]

    async with served(returning([2**53 + 1]), tools=tools) as dagcall:
        content = content_of(await call(dagcall, "big"))

    assert content["exact_numbers"] == {"/it/0": "9007199254740993"}
    assert ("results" in content) == (declared["type"] == "array")


async def test_many_large_integers_are_returned_in_parts(served: Served) -> None:
    async with served(returning(IDS)) as dagcall:
        content = content_of(await call(dagcall, "big"))
        place = {"tool": "big", "dag_run_id": content["dag_run_id"], "path": "/it"}
        parts = [content_of(await call(dagcall, READ_TOOL_NAME, **place))]
        while "next_offset" in parts[-1]:
            parts.append(content_of(await call(dagcall, READ_TOOL_NAME, **place, offset=parts[-1]["next_offset"])))
        one = content_of(await call(dagcall, READ_TOOL_NAME, **{**place, "path": "/it/7"}))

    assert content["size_bytes"] < LIMIT
    assert "and with exact_numbers more than the limit of 100,000 for one answer" in content["message"]
    assert content["exact_numbers"]["/it/0"] == str(IDS[0])
    exact = [part["exact_numbers"][f"/{at}"] for part in parts for at in range(len(part["value"]))]
    assert exact == [str(number) for number in IDS]
    assert one == {"value": IDS[7], "exact_numbers": {"": str(IDS[7])}}


# Results that do not match the output schema


async def test_results_that_do_not_match_the_schema_are_still_returned(served: Served) -> None:
    declared = {"properties": {"it": {"type": "array", "items": {"type": "string"}}}}
    tools = [{"dag": "big", "output_schema": declared}]

    async with served(returning(["a", 2]), tools=tools) as dagcall:
        content = content_of(await call(dagcall, "big"))

    assert "results" not in content
    assert content["unexpected_results"] == {"it": ["a", 2]}
    assert content["message"] == (
        "The results are complete, but do not match this tool's output schema, so they are in unexpected_results: "
        "results.it[1]: the value is not of type 'string'"
    )


# Resources


async def read(client: Client, uri: str) -> dict[str, Any]:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    assert (content.uri, content.mime_type) == (uri, "application/json")
    assert len(content.text.encode()) <= LIMIT
    shown = dict(json.loads(content.text))
    assert len(content.text.encode()) == bytes_of(shown)  # compact, as dagcall measures it
    return shown


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_resource_link_and_template_can_be_read(served: Served, mode: Mode) -> None:
    async with served(returning(ROWS)) as dagcall, Client(dagcall.mcp.sdk, mode=mode) as client:
        link = (await client.call_tool("big", {})).content[1]
        assert isinstance(link, ResourceLink)
        whole = await read(client, link.uri)
        part = await read(client, f"{link.uri}?path=%2Fit&offset=20&limit=3")
        (template,) = (await client.list_resource_templates()).resource_templates
        listed = (await client.list_resources()).resources

    assert whole == {
        "value": {"it": ROWS[:20]},
        "offset": 0,
        "total": 1,
        "omitted": [{"path": "/it", "what": "items 20 to 9,999 of 10,000"}],
    }
    assert part == {"value": ROWS[20:23], "offset": 20, "total": 10_000, "next_offset": 23}
    assert template.uri_template == "dagcall://runs/{tool}/{dag_run_id}/results{?path,offset,limit}"
    assert listed == []


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(
    ("uri", "said"),
    [
        (
            "file:///etc/passwd",
            f"Unknown resource 'file:///etc/passwd'; resources have the form {RESULTS_URI}.",
        ),
        ("dagcall://runs/bug/mcp__1/results", "there is no tool 'bug'; did you mean 'big'?"),
        ("dagcall://runs/big/mcp__1/results", "there is no run 'mcp__1' that you started with tool big"),
    ],
)
async def test_unknown_resource_is_an_error_with_its_uri(served: Served, mode: Mode, uri: str, said: str) -> None:
    """MCP 2026-07-28: -32602, earlier revisions: -32002; the error's data contains the URI."""
    async with served(returning(ROWS)) as dagcall, Client(dagcall.mcp.sdk, mode=mode) as client:
        with pytest.raises(MCPError) as refused:
            await client.read_resource(uri)

    code = INVALID_PARAMS if mode == "auto" else -32002
    assert (refused.value.error.code, refused.value.error.message) == (code, said)
    assert refused.value.error.data == {"uri": uri}


async def test_unreachable_airflow_is_an_internal_error(served: Served) -> None:
    airflow = returning(ROWS)

    async with served(airflow) as dagcall:
        run_id = await started(dagcall)
        airflow.add_fault(Fault(route="run", error=httpx.ConnectError, times=None))
        async with Client(dagcall.mcp.sdk) as client:
            with pytest.raises(MCPError) as refused:
                await client.read_resource(f"dagcall://runs/big/{run_id}/results")

    assert refused.value.error.code == INTERNAL_ERROR
    assert "Airflow" in refused.value.error.message


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_unexpected_error_is_logged_and_not_shown(
    served: Served, mode: Mode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(returning(ROWS)) as dagcall, Client(dagcall.mcp.sdk, mode=mode) as client:
        monkeypatch.setattr(dagcall.runs, "fetch_results", None)
        with pytest.raises(MCPError) as refused:
            await client.read_resource("dagcall://runs/big/mcp__1/results")

    assert refused.value.error.message == "dagcall failed while reading this resource; see its log."
    assert "TypeError" in caplog.text


async def test_resource_cannot_be_read_during_shutdown(served: Served) -> None:
    async with served(returning(ROWS)) as dagcall, Client(dagcall.mcp.sdk) as client:
        dagcall.mcp.begin_stop()
        with pytest.raises(MCPError, match="shutting down"):
            await client.read_resource("dagcall://runs/big/mcp__1/results")


def test_read_tool_accepts_the_fields_of_place() -> None:
    (tool,) = (tool for tool in own_tools() if tool.name == READ_TOOL_NAME)

    assert tool.input_schema["properties"].keys() == PartOfResult.model_fields.keys()


async def test_old_client_gets_no_resource_link(served: Served) -> None:
    """Revision 2025-06-18 introduced resource links."""
    async with served(returning(ROWS)) as dagcall:
        tool = dagcall.catalog.tool("big")
        answer = Answer(RunState.SUCCESS, "mcp__1", "http://airflow.test", {"it": ROWS})
        blocks = {
            has_links: [block.type for block in call_result(tool, answer, max_bytes=LIMIT, has_links=has_links).content]
            for has_links in (False, True)
        }

    assert blocks == {False: ["text"], True: ["text", "resource_link"]}


async def test_skipped_instances_are_counted_and_the_first_are_named(served: Served) -> None:
    async with served(returning(ROWS)) as dagcall:
        answer = Answer(
            RunState.SUCCESS,
            "mcp__1",
            "http://airflow.test",
            {"it": [None]},
            skipped=tuple(f"it[{at}]" for at in range(5_000)),
        )
        content = content_of(call_result(dagcall.catalog.tool("big"), answer, max_bytes=LIMIT))

    assert content["skipped"] == [*(f"it[{at}]" for at in range(20)), "and 4,980 more"]
