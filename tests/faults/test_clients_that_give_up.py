"""Clients that time out, often without cancelling, and repeat their call get the existing run."""

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import CallToolResult

from tests.faults.conftest import BOTH, CALL_SECONDS, Mode, Serve, call_on
from tests.faults.fault_proxy import FaultProxy
from tests.faults.matrix import fault
from tests.faults.record import Json, Record, until
from tests.support.commands import DAGCALL, clean_environ, free_port
from tests.support.environments import interpreter_of
from tests.support.output import Output
from tests.support.plain_http import PLAIN

HERE = Path(__file__).parent
PATIENCE_SECONDS = 2.0
"""When these clients time out. dagcall treats an identical call at least a second later as a repeat."""
READS_ONLY = """
[[tools]]
dag = "add"
annotations.read_only = true
"""


@pytest.fixture(scope="module")
def old_client(request: pytest.FixtureRequest) -> Path:
    """The interpreter of an environment with SDK 1.30."""
    return interpreter_of("mcp-1.30.0", request.config)


@pytest.fixture(scope="module")
def mcp_proxy(request: pytest.FixtureRequest) -> Path:
    """mcp-proxy, which connects a stdio client to an HTTP server."""
    return interpreter_of("mcp-proxy-0.13.0", request.config).with_name("mcp-proxy")


@pytest.fixture(scope="module")
def mcpo(request: pytest.FixtureRequest) -> Path:
    """mcpo, which turns an MCP server into an HTTP API."""
    return interpreter_of("mcpo-0.0.20", request.config).with_name("mcpo")


def require_shared(content: Json, run: Json, x: int) -> None:
    """Check an answer marked as sharing another call's run."""
    assert (content["state"], content["dag_run_id"]) == ("success", run["dag_run_id"])
    assert content["results"] == {"total": x + 1}
    assert content["shared"] is True
    assert content["message"].startswith("An identical call of yours was already waiting for this run")
    assert "idempotency key" in content["message"]


async def end_the_run_of_both_calls(airflow: Record, proxy: FaultProxy, x: int) -> Json:
    """End the run of a call once its repeat has looked it up in Airflow; the first call does not do this."""
    run = await airflow.the_run("held", x)

    async def is_asked_for() -> bool:
        return bool(proxy.requests("GET", f"/dagRuns/{run['dag_run_id']}$"))

    await until(is_asked_for)
    await airflow.end(run)
    return run


# SDK 1.30


async def repeated_by_the_old_client(python: Path, environ: dict[str, str], x: int, *target: str) -> list[Json]:
    """Run the old client, which times out and repeats its call; return its output."""
    process = await asyncio.create_subprocess_exec(
        *(str(python), str(HERE / "giving_up_client.py"), "held", json.dumps({"x": x}), *target),
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(CALL_SECONDS):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return [json.loads(line) for line in output.splitlines()]


async def require_one_run_for_both(airflow: Record, proxy: FaultProxy, x: int, calling: Awaitable[list[Json]]) -> None:
    both = asyncio.ensure_future(calling)
    run = await end_the_run_of_both_calls(airflow, proxy, x)
    gave_up, answered = await both

    assert "Timed out" in gave_up["gave_up"]
    assert not answered["is_error"]
    require_shared(answered["answer"], run, x)
    assert json.loads(answered["text"]) == answered["answer"]
    assert len(await airflow.runs_with("held", x)) == 1


@fault(
    "SDK 1.30 times out over HTTP without cancelling, and repeats its call",
    seen="the result, and that the run is shared with the first call",
)
async def test_old_client_gets_its_run_after_a_timeout_over_http(
    airflow: Record, proxy: FaultProxy, serve: Serve, old_client: Path, x: int
) -> None:
    calling = repeated_by_the_old_client(old_client, clean_environ(), x, "http", serve().url)
    await require_one_run_for_both(airflow, proxy, x, calling)


@fault(
    "SDK 1.30 times out over stdio without cancelling, and repeats its call",
    seen="the result, and that the run is shared with the first call",
)
async def test_old_client_gets_its_run_after_a_timeout_over_stdio(
    airflow: Record, proxy: FaultProxy, settings: Callable[..., dict[str, str]], old_client: Path, x: int
) -> None:
    command = [*DAGCALL, "serve", "--stdio"]
    calling = repeated_by_the_old_client(old_client, settings(), x, "stdio", *command)
    await require_one_run_for_both(airflow, proxy, x, calling)


@fault(
    "SDK 1.30 behind mcp-proxy times out, and repeats its call",
    seen="the result, and that the run is shared with the first call",
)
async def test_old_client_gets_its_run_after_a_timeout_behind_mcp_proxy(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int, *, old_client: Path, mcp_proxy: Path
) -> None:
    command = [str(mcp_proxy), "--transport", "streamablehttp", serve().url]
    calling = repeated_by_the_old_client(old_client, clean_environ(), x, "stdio", *command)
    await require_one_run_for_both(airflow, proxy, x, calling)


# SDK 2


async def give_up_and_call_again(
    client: Client, airflow: Record, proxy: FaultProxy, x: int
) -> tuple[CallToolResult, Json]:
    await client.list_tools()
    with pytest.raises(MCPError, match="timed out"):
        await client.call_tool("held", {"x": x}, read_timeout_seconds=PATIENCE_SECONDS)
    repeated = asyncio.create_task(call_on(client, "held", x))
    run = await end_the_run_of_both_calls(airflow, proxy, x)
    answer = await repeated
    assert len(await airflow.runs_with("held", x)) == 1
    return answer, run


@fault(
    "SDK 2 in the handshake era times out, cancels in a separate request, and repeats its call",
    seen="the result of the first run",
)
async def test_client_that_cancels_in_a_separate_request_gets_its_run_unshared(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int
) -> None:
    async with Client(serve().url, mode="legacy") as client:
        answer, run = await give_up_and_call_again(client, airflow, proxy, x)

    airflow.require_answer(answer, run)


@fault("SDK 2 times out, closes its stream, and repeats its call", seen="the result of the first run")
async def test_client_that_closes_its_stream_gets_its_run_unshared(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int
) -> None:
    async with Client(serve().url) as client:
        answer, run = await give_up_and_call_again(client, airflow, proxy, x)

    airflow.require_answer(answer, run)


@fault(
    "SDK 2 behind mcp-proxy, which swallows the cancellation, repeats its call",
    seen="the result, and that the run is shared with the first call",
)
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_client_whose_proxy_swallows_the_cancellation_gets_its_run(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int, *, mcp_proxy: Path, tmp_path: Path, mode: Mode
) -> None:
    """The client cancels its call, but its proxy does not pass the cancellation on."""
    parameters = StdioServerParameters(
        command=str(mcp_proxy), args=["--transport", "streamablehttp", serve().url], env=clean_environ()
    )
    with (tmp_path / "errors").open("w") as errors:
        async with Client(stdio_client(parameters, errlog=errors), mode=mode) as client:
            answer, run = await give_up_and_call_again(client, airflow, proxy, x)

    require_shared(answer.structured_content or {}, run, x)


# An HTTP API in front of dagcall


@contextmanager
def api_of(mcpo: Path, url: str) -> Iterator[str]:
    """Run mcpo in front of a server until the block ends; yield its URL."""
    port = free_port()
    words = ["--host", "127.0.0.1", "--port", str(port), "--server-type", "streamable-http", "--", url]
    with (
        subprocess.Popen(  # noqa: S603 - our own command
            [mcpo, *words],
            env=clean_environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        Output(process.stderr),
    ):
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


@fault(
    "a client of mcpo times out, and repeats its call",
    seen="the result, and that the run is shared with the first call",
)
async def test_http_api_client_gets_its_run_after_a_timeout(
    airflow: Record, proxy: FaultProxy, serve: Serve, mcpo: Path, x: int
) -> None:
    with api_of(mcpo, serve().url) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False, verify=PLAIN) as http:

            async def is_ready() -> bool:
                try:
                    return "/held" in (await http.get("/openapi.json")).text
                except httpx.TransportError:
                    return False

            await until(is_ready)
            with pytest.raises(httpx.ReadTimeout):
                await http.post("/held", json={"x": x}, timeout=PATIENCE_SECONDS)
            repeated = asyncio.create_task(http.post("/held", json={"x": x}, timeout=CALL_SECONDS))
            run = await end_the_run_of_both_calls(airflow, proxy, x)
            answer = (await repeated).raise_for_status().json()

    require_shared(answer, run, x)
    assert len(await airflow.runs_with("held", x)) == 1


# Programs that make many identical calls


async def pipeline(url: str, x: int, count: int, *, at_once: int) -> list[Json]:
    """Make `count` identical calls, `at_once` at a time, and return the answers."""
    places = asyncio.Semaphore(at_once)
    async with Client(url) as client:
        await client.list_tools()

        async def one() -> Json:
            async with places:
                answer = await call_on(client, "add", x)
            assert not answer.is_error
            assert isinstance(answer.structured_content, dict)
            return answer.structured_content

        return await asyncio.gather(*(one() for _ in range(count)))


async def require_right_answers(airflow: Record, x: int, answers: list[Json]) -> int:
    """Check that Airflow has one run for each answer not marked as shared; return the number of runs."""
    runs = {run["dag_run_id"]: run for run in await airflow.runs_with("add", x)}
    own = [answer["dag_run_id"] for answer in answers if not answer.get("shared")]
    assert sorted(own) == sorted(runs)
    for answer in answers:
        assert (answer["state"], answer["results"]) == ("success", {"total": x + 1})
        assert "replayed" not in answer
        if answer.get("shared"):
            require_shared(answer, runs[answer["dag_run_id"]], x)
    return len(runs)


@fault(
    "sixteen identical calls of a read-only tool, eight at a time",
    seen="each call: the result of its own run",
    checked="sixteen runs; each answer is the result of its own run",
)
async def test_identical_calls_of_a_read_only_tool_each_get_their_own_run(
    airflow: Record, serve: Serve, x: int
) -> None:
    answers = await pipeline(serve(READS_ONLY).url, x, 16, at_once=8)

    assert await require_right_answers(airflow, x, answers) == 16


@fault(
    "sixteen identical calls of another tool, eight at a time",
    seen="each call: a result, and whether its run is shared",
    checked="as many runs as answers not marked as shared",
)
async def test_identical_calls_of_another_tool_are_told_if_they_share_a_run(
    airflow: Record, serve: Serve, x: int
) -> None:
    answers = await pipeline(serve(BOTH).url, x, 16, at_once=8)

    assert 8 <= await require_right_answers(airflow, x, answers) <= 16


@fault(
    "twenty identical calls at the same time",
    seen="each call: the result of its own run",
    checked="twenty runs; each answer is the result of its own run",
)
async def test_simultaneous_identical_calls_each_get_their_own_run(airflow: Record, serve: Serve, x: int) -> None:
    answers = await pipeline(serve(BOTH).url, x, 20, at_once=20)

    assert await require_right_answers(airflow, x, answers) == 20
