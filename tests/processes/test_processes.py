"""`dagcall serve` as a process: start, stop, outages, invalid requests. Airflow is the fake, on a real socket."""

import contextlib
import json
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import httpx
import pytest

from dagcall.tools.naming import GENERIC_TOOL_NAMES
from tests.fake_airflow import FakeAirflow
from tests.fake_airflow.serving import served
from tests.processes.example import airflow_with_dags
from tests.support.commands import free_port
from tests.support.plain_http import PLAIN
from tests.support.polling import until
from tests.support.serving_process import (
    LEGACY,
    MODERN,
    STOP_SECONDS,
    HttpServer,
    Message,
    StdioServer,
    environ_for,
    headers,
    http_server,
    request,
    stdio_server,
    the_run_of,
)

revisions = pytest.mark.parametrize("revision", [MODERN, LEGACY])


@pytest.fixture
def airflow() -> FakeAirflow:
    return airflow_with_dags()


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    """One server for all tests that must not crash it."""
    with served(airflow_with_dags()) as url, http_server(environ_for(url)) as running:
        yield running
        code, errors = running.stop()
        assert code == 0
        assert "Traceback" not in errors


def call(name: str, **arguments: Any) -> Message:
    return {"name": name, "arguments": arguments}


# Starting


def ready(server: HttpServer) -> tuple[int, Message]:
    response = httpx.get(f"{server.root}/ready", trust_env=False, verify=PLAIN, timeout=60)
    return response.status_code, response.json()


def test_server_is_not_ready_while_airflow_is_unreachable() -> None:
    port = free_port()
    with contextlib.ExitStack() as airflow, http_server(environ_for(f"http://127.0.0.1:{port}")) as server:
        airflow.enter_context(served(airflow_with_dags(), port))
        until(lambda: ready(server)[0] == 200)
        airflow.close()

        def is_refused() -> bool:
            answer = server.ask(MODERN, "tools/call", **call("echo", it="x"))
            return "Airflow has not answered" in answer["result"]["content"][0]["text"]

        until(is_refused)
        assert ready(server) == (503, {"is_ready": False})
        with served(airflow_with_dags(), port):
            until(lambda: ready(server)[0] == 200)
            answer = server.ask(MODERN, "tools/call", **call("echo", it="x"))
            assert answer["result"]["structuredContent"]["results"] == {"back": "x"}
            assert server.stop()[0] == 0


def test_airflow_that_starts_later_is_served() -> None:
    port = free_port()
    airflow_url = f"http://127.0.0.1:{port}"
    with http_server(environ_for(airflow_url)) as server:
        server.errors.until(lambda line: airflow_url in line and "cannot be reached" in line, seconds=120)
        assert ready(server) == (503, {"is_ready": False})  # without the reason, because the endpoint is public
        assert httpx.get(f"{server.root}/health", trust_env=False, verify=PLAIN, timeout=60).json() == {"status": "ok"}
        assert server.ask(MODERN, "tools/list")["result"]["tools"] == []
        refused = server.ask(MODERN, "tools/call", **call("echo", it="x"))["error"]["message"]
        assert airflow_url in refused

        with served(airflow_with_dags(), port):
            until(lambda: ready(server)[0] == 200)
            assert ready(server)[1] == {"is_ready": True}
            answer = server.ask(MODERN, "tools/call", **call("echo", it="x"))
            assert answer["result"]["structuredContent"]["results"] == {"back": "x"}
            code, errors = server.stop()

    assert code == 0
    assert airflow_url in errors
    assert "Traceback" not in errors


def test_restarted_server_lists_the_remembered_tools(airflow: FakeAirflow, tmp_path: Path) -> None:
    with served(airflow) as url:
        environ = environ_for(url, DAGCALL_REMEMBER="true", DAGCALL_CACHE_FOLDER=str(tmp_path))
        environ["DAGCALL_SERVER_WAIT_SECONDS"] = "1"
        with stdio_server(environ) as server:
            *_, answer = server.stream(MODERN, request(MODERN, 1, "tools/list", {}))
            until(lambda: any(tmp_path.glob("dags-*.json")))
    with stdio_server(environ) as server:
        *_, again = server.stream(MODERN, request(MODERN, 1, "tools/list", {}))
        *_, refused = server.stream(MODERN, request(MODERN, 2, "tools/call", call("echo", it="x")))
    assert again["result"]["tools"] == answer["result"]["tools"]
    assert {"echo", "endless", "nest"} < {tool["name"] for tool in again["result"]["tools"]}
    assert "Nothing was started" in json.dumps(refused)


def test_empty_allow_list_publishes_nothing_with_a_warning(airflow: FakeAirflow) -> None:
    with served(airflow) as url, http_server(environ_for(url, DAGCALL_DAGS="")) as server:
        assert server.ask(MODERN, "tools/list")["result"]["tools"] == []
        _, errors = server.stop()
    assert "nothing is published: the allow-list is empty" in errors


# Stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("transport", ["http", "stdio"])
@revisions
def test_waiting_call_gets_its_run_id_at_shutdown(
    airflow: FakeAirflow, transport: str, revision: str, number: signal.Signals
) -> None:
    start = http_server if transport == "http" else stdio_server
    with served(airflow) as url, start(environ_for(url, DAGCALL_SERVER_DRAIN_SECONDS="0.2")) as server:
        messages = server.stream(revision, request(revision, 7, "tools/call", call("endless", x=1)))
        for message in messages:
            if message["method"] == "notifications/progress" and "queued" in message["params"]["message"]:
                break  # the run exists and the call waits for it
        server.process.send_signal(number)
        *_, answer = messages
        code, errors = server.ended()

    assert answer["id"] == 7
    content = answer["result"]["structuredContent"]
    assert (content["state"], content["dag_run_id"]) == ("running", the_run_of(airflow))
    assert "wait_for_dag_run" in content["message"]
    assert not answer["result"].get("isError")
    assert airflow.runs[0].state == "queued"
    assert code == 0
    assert "Traceback" not in errors


def answers_to(server: HttpServer | StdioServer, revision: str, messages: list[Message]) -> Iterator[Message]:
    """Send several requests at once, and yield their answers as they arrive."""
    if isinstance(server, StdioServer):
        server.hello(revision)
        for message in messages:
            server.send(message)
        missing = {message["id"] for message in messages}
        while missing:
            if (received := server.receive()).get("id") in missing:
                missing.discard(received["id"])
                yield received
        return
    with ThreadPoolExecutor(len(messages)) as threads:
        for answering in as_completed([threads.submit(list, server.stream(revision, one)) for one in messages]):
            yield answering.result()[-1]


def test_starting_calls_get_their_run_ids_at_shutdown() -> None:
    """Four servers at once, because each waits for Airflow as long as it may."""
    servers = [("http", MODERN, False), ("http", LEGACY, True), ("stdio", MODERN, True), ("stdio", LEGACY, False)]
    with ThreadPoolExecutor(len(servers)) as threads:
        for checking in [threads.submit(check_starting_calls, *each) for each in servers]:
            checking.result()


SLOW_WRITER = """
import asyncio

from dagcall.cli import stdio

write = stdio.AnswersOut.write


async def write_later(out, text):
    await asyncio.sleep(0.1)
    return await write(out, text)


stdio.AnswersOut.write = write_later
"""
"""Runs at the start of each Python process: an answer takes time to reach its writer, as on a busy machine."""


@revisions
def test_each_answer_is_written_before_a_stdio_server_ends(tmp_path: Path, revision: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_WRITER)
    airflow = airflow_with_dags()
    messages = [request(revision, number, "tools/call", call("endless", x=number)) for number in range(3)]
    with (
        served(airflow) as url,
        stdio_server(environ_for(url, PYTHONPATH=str(tmp_path))) as server,
        ThreadPoolExecutor(1) as thread,
    ):
        answering = thread.submit(lambda: list(answers_to(server, revision, messages)))
        until(lambda: len(airflow.runs) == len(messages))
        server.process.send_signal(signal.SIGTERM)
        answers = answering.result(STOP_SECONDS)
        code, _ = server.ended()
    assert code == 0
    assert {answer["result"]["structuredContent"]["state"] for answer in answers} == {"running"}


def check_starting_calls(transport: str, revision: str, is_there: bool) -> None:  # noqa: FBT001 - one row of the table
    airflow = airflow_with_dags()
    start = http_server if transport == "http" else stdio_server
    airflow.hold("trigger", times=None, after_effect=is_there)
    messages = [request(revision, number, "tools/call", call("endless", x=number)) for number in range(3)]
    with served(airflow) as url:
        environ = environ_for(url, DAGCALL_SERVER_DRAIN_SECONDS="0.2", DAGCALL_SERVER_WAIT_SECONDS="60")
        with start(environ) as server, ThreadPoolExecutor(1) as thread:
            answering = thread.submit(lambda: list(answers_to(server, revision, messages)))
            until(lambda: len(airflow.requests_to("trigger")) == len(messages))
            server.process.send_signal(signal.SIGTERM)
            answers = answering.result(STOP_SECONDS)
            code, errors = server.ended()
        airflow.clear_faults()
        with http_server(environ | {"DAGCALL_SERVER_WAIT_SECONDS": "0.1"}) as other:
            repeated = [other.ask(revision, "tools/call", **call("endless", x=number)) for number in range(3)]

    assert code == 0
    assert "Traceback" not in errors
    handles = {answer["id"]: handle_in(answer["result"]) for answer in answers}
    assert handles == {
        number: again["result"]["structuredContent"]["dag_run_id"] for number, again in enumerate(repeated)
    }
    assert {run.run_id for run in airflow.runs} == set(handles.values())
    assert len(airflow.runs) == len(messages)


def handle_in(result: Message) -> str:
    """Return the run id in an answer that reports an unknown outcome."""
    assert result["isError"]
    text = result["content"][0]["text"]
    found = re.fullmatch(
        r"It is not known whether run (\S+) of dag endless was started: dagcall is shutting down and Airflow has not "
        r"answered\. Call again with the same arguments to find out; this starts no second run\. .*",
        text,
    )
    assert found, text
    return found[1]


@revisions
def test_stdio_server_ends_when_stdin_is_closed(airflow: FakeAirflow, revision: str) -> None:
    with served(airflow) as url, stdio_server(environ_for(url)) as server:
        *_, answer = server.stream(revision, request(revision, 1, "tools/list", {}))
        names = [tool["name"] for tool in answer["result"]["tools"]]
        assert names == ["echo", "endless", "nest", *sorted(GENERIC_TOOL_NAMES)]
        assert server.process.stdin is not None
        server.process.stdin.close()
        assert server.process.wait(2) == 0  # the SDK's client kills what takes longer
        assert server.output.rest().count("\n") == len(server.output.said)
        assert "Traceback" not in server.errors.rest()


# Raw HTTP


@revisions
def test_tools_are_listed_and_called_with_single_posts(server: HttpServer, revision: str) -> None:
    listed = server.ask(revision, "tools/list")["result"]
    assert [tool["name"] for tool in listed["tools"]][:3] == ["echo", "endless", "nest"]
    answer = server.ask(revision, "tools/call", **call("echo", it="Grüße"))["result"]
    content = answer["structuredContent"]
    assert content["results"] == {"back": "Grüße"}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    assert answer["content"] == [{"type": "text", "text": text}]


def test_client_that_mixes_two_revisions_is_served(server: HttpServer) -> None:
    """claude.ai's connectors send a handshake-era header, a modern body, and no session."""
    message = request(MODERN, 3, "tools/call", call("echo", it="mixed"))
    *_, answer = server.stream(LEGACY, message)
    assert answer["result"]["structuredContent"]["results"] == {"back": "mixed"}


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        pytest.param("Host", "dagcall.example.org", 421, id="another host"),
        pytest.param("Origin", "https://example.org", 403, id="a web page"),
    ],
)
def test_foreign_host_and_origin_are_refused(server: HttpServer, header: str, value: str, status: int) -> None:
    message = request(MODERN, 1, "tools/list", {})
    foreign = headers(MODERN, message) | {header: value}
    response = httpx.post(server.url, json=message, headers=foreign, trust_env=False, verify=PLAIN, timeout=60)
    assert response.status_code == status
    assert "echo" not in response.text


# Invalid requests. The server keeps running: the next test uses it again, and its fixture checks how it ends.


@revisions
def test_arguments_above_a_megabyte_are_refused(server: HttpServer, revision: str) -> None:
    answer = server.ask(revision, "tools/call", **call("echo", it="x" * 1_048_577))["result"]
    assert answer["isError"]
    assert answer["content"][0]["text"].startswith("Nothing was started: ")
    assert "at most 100,000 are taken here" in answer["content"][0]["text"]  # the default of limits.max_argument_bytes


def test_arguments_nested_200_deep_are_refused(server: HttpServer) -> None:
    nested: list[Any] = []
    for _ in range(200):
        nested = [nested]
    answer = server.ask(MODERN, "tools/call", **call("nest", it=nested))["result"]
    assert answer["isError"]
    assert "nested more than 100 levels deep" in answer["content"][0]["text"]
    # In the handshake era the SDK's JSON parser has a lower limit.
    error = server.ask(LEGACY, "tools/call", **call("nest", it=nested))["error"]
    assert error["message"].startswith("Parse error: recursion limit exceeded")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b'{"jsonrpc": "2.0", "id": 1, ', 400, id="not JSON"),
        pytest.param(b"[" * 100_000, 400, id="nested without end"),
        pytest.param(b"x" * (4 * 1024 * 1024 + 1), 413, id="above 4 MiB"),
        pytest.param(b"", 400, id="nothing"),
    ],
)
@revisions
def test_invalid_request_body_is_refused(server: HttpServer, revision: str, body: bytes, status: int) -> None:
    known = headers(revision, request(revision, 1, "tools/list", {})) | {"Content-Type": "application/json"}
    response = httpx.post(server.url, content=body, headers=known, trust_env=False, verify=PLAIN, timeout=60)
    assert response.status_code == status
    assert len(response.text) < 1000
    assert server.ask(revision, "tools/list")["result"]["tools"]


@revisions
def test_stdio_server_survives_an_invalid_line(airflow: FakeAirflow, revision: str) -> None:
    with served(airflow) as url, stdio_server(environ_for(url)) as server:
        server.hello(revision)
        assert server.process.stdin is not None
        server.process.stdin.write("this is no JSON\n")
        server.send(request(revision, 5, "tools/call", call("echo", it="still here")))
        while (answer := server.receive()).get("id") != 5:
            pass
        assert answer["result"]["structuredContent"]["results"] == {"back": "still here"}
