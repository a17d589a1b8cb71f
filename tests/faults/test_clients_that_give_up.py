"""Clients that give a call up without a word, and then make it again: they get the run that is there."""

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

from tests.e2e.commands import DAGCALL, clean_environ, free_port
from tests.e2e.environments import interpreter_of
from tests.e2e.output import Output
from tests.faults.conftest import BOTH, CALL_SECONDS, Mode, Serve, call_on
from tests.faults.fault_proxy import FaultProxy
from tests.faults.matrix import fault
from tests.faults.record import Json, Record, until

HERE = Path(__file__).parent
PATIENCE_SECONDS = 2.0
"""After which these clients give up. A call that comes at least a second after the first is taken for its repeat."""
READS_ONLY = """
[[tools]]
dag = "add"
annotations.read_only = true
"""


@pytest.fixture(scope="module")
def old_client(request: pytest.FixtureRequest) -> Path:
    """The interpreter of an environment with the SDK of before 2026."""
    return interpreter_of("mcp-1.30.0", request.config)


@pytest.fixture(scope="module")
def mcp_proxy(request: pytest.FixtureRequest) -> Path:
    """mcp-proxy, which stands between a client over stdio and a server over HTTP."""
    return interpreter_of("mcp-proxy-0.13.0", request.config).with_name("mcp-proxy")


@pytest.fixture(scope="module")
def mcpo(request: pytest.FixtureRequest) -> Path:
    """mcpo, which makes an HTTP API of an MCP server."""
    return interpreter_of("mcpo-0.0.20", request.config).with_name("mcpo")


def require_shared(content: Json, run: Json, x: int) -> None:
    """Check an answer that says that its run is another call's, too."""
    assert (content["state"], content["dag_run_id"]) == ("success", run["dag_run_id"])
    assert content["results"] == {"total": x + 1}
    assert content["shared"] is True
    assert content["message"].startswith("An identical call of yours was already waiting for this run")
    assert "idempotency key" in content["message"]


async def end_the_run_of_both_calls(airflow: Record, proxy: FaultProxy, x: int) -> Json:
    """End the run of a call once its repeat has asked Airflow for it, which the first call had no reason to."""
    run = await airflow.the_run("held", x)

    async def is_asked_for() -> bool:
        return bool(proxy.requests("GET", f"/dagRuns/{run['dag_run_id']}$"))

    await until(is_asked_for)
    await airflow.end(run)
    return run


# The SDK of before 2026


async def repeated_by_the_old_client(python: Path, environ: dict[str, str], x: int, *target: str) -> list[Json]:
    """Have the old client give up, and call again; return all that it said."""
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
    "SDK 1.30 times out over HTTP without a word, and calls again",
    seen="the result, and that the run is shared with the first call",
)
async def test_an_old_client_that_gives_up_over_http_gets_its_run(
    airflow: Record, proxy: FaultProxy, serve: Serve, old_client: Path, x: int
) -> None:
    calling = repeated_by_the_old_client(old_client, clean_environ(), x, "http", serve().url)
    await require_one_run_for_both(airflow, proxy, x, calling)


@fault(
    "SDK 1.30 times out over stdio without a word, and calls again",
    seen="the result, and that the run is shared with the first call",
)
async def test_an_old_client_that_gives_up_over_stdio_gets_its_run(
    airflow: Record, proxy: FaultProxy, settings: Callable[..., dict[str, str]], old_client: Path, x: int
) -> None:
    command = [*DAGCALL, "serve", "--stdio"]
    calling = repeated_by_the_old_client(old_client, settings(), x, "stdio", *command)
    await require_one_run_for_both(airflow, proxy, x, calling)


@fault(
    "SDK 1.30 behind mcp-proxy times out, and calls again",
    seen="the result, and that the run is shared with the first call",
)
async def test_an_old_client_that_gives_up_behind_a_proxy_gets_its_run(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int, *, old_client: Path, mcp_proxy: Path
) -> None:
    command = [str(mcp_proxy), "--transport", "streamablehttp", serve().url]
    calling = repeated_by_the_old_client(old_client, clean_environ(), x, "stdio", *command)
    await require_one_run_for_both(airflow, proxy, x, calling)


# The SDK of 2026


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
    "SDK 2 in the handshake era times out and says so in a request of its own, and calls again",
    seen="the result, and that the run is shared with the first call",
)
async def test_a_client_that_says_so_over_a_connection_of_its_own_gets_its_run(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int
) -> None:
    """In the handshake era a cancellation is a request of its own, which may reach another replica."""
    async with Client(serve().url, mode="legacy") as client:
        answer, run = await give_up_and_call_again(client, airflow, proxy, x)

    require_shared(answer.structured_content or {}, run, x)


@fault("SDK 2 times out and closes its stream, and calls again", seen="the result of the run that it left")
async def test_a_client_that_closes_its_stream_gets_its_run_for_itself(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int
) -> None:
    async with Client(serve().url) as client:
        answer, run = await give_up_and_call_again(client, airflow, proxy, x)

    airflow.require_answer(answer, run)


@fault(
    "SDK 2 behind mcp-proxy, which swallows the cancellation, calls again",
    seen="the result, and that the run is shared with the first call",
)
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_whose_proxy_says_nothing_gets_its_run(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int, *, mcp_proxy: Path, tmp_path: Path, mode: Mode
) -> None:
    """The client cancels its call, of which its proxy tells nobody."""
    parameters = StdioServerParameters(
        command=str(mcp_proxy), args=["--transport", "streamablehttp", serve().url], env=clean_environ()
    )
    with (tmp_path / "errors").open("w") as errors:
        async with Client(stdio_client(parameters, errlog=errors), mode=mode) as client:
            answer, run = await give_up_and_call_again(client, airflow, proxy, x)

    require_shared(answer.structured_content or {}, run, x)


# An HTTP API in front


@contextmanager
def api_of(mcpo: Path, url: str) -> Iterator[str]:
    """Run mcpo in front of a server until the block ends; give its address."""
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


@fault("a client of mcpo times out, and asks again", seen="the result, and that the run is shared with the first call")
async def test_a_caller_of_an_http_api_who_gives_up_gets_its_run(
    airflow: Record, proxy: FaultProxy, serve: Serve, mcpo: Path, x: int
) -> None:
    with api_of(mcpo, serve().url) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:

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
    """Make identical calls, so many at once, and return what they were answered."""
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
    """Check answers against Airflow's runs: as many runs as answers that do not say otherwise; return how many."""
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
    "sixteen identical calls, eight at a time, of a tool that only reads",
    seen="each the result of its own run",
    checked="sixteen runs; each answer is its own",
)
async def test_a_pipeline_has_a_run_for_each_call_of_a_tool_that_only_reads(
    airflow: Record, serve: Serve, x: int
) -> None:
    answers = await pipeline(serve(READS_ONLY).url, x, 16, at_once=8)

    assert await require_right_answers(airflow, x, answers) == 16


@fault(
    "sixteen identical calls, eight at a time, of a tool that changes things",
    seen="each a result, and which of them share a run",
    checked="as many runs as answers that do not say that they share one",
)
async def test_a_pipeline_is_told_which_calls_of_another_tool_share_a_run(
    airflow: Record, serve: Serve, x: int
) -> None:
    answers = await pipeline(serve(BOTH).url, x, 16, at_once=8)

    assert 8 <= await require_right_answers(airflow, x, answers) <= 16


@fault(
    "twenty identical calls at the same time",
    seen="each the result of its own run",
    checked="twenty runs; each answer is its own",
)
async def test_calls_that_come_together_are_as_many_runs(airflow: Record, serve: Serve, x: int) -> None:
    answers = await pipeline(serve(BOTH).url, x, 20, at_once=20)

    assert await require_right_answers(airflow, x, answers) == 20
