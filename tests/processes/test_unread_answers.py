"""Stdio clients that do not read their answer: the next identical call gets it, and dagcall still shuts down."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest

from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask
from tests.fake_airflow.serving import WallClock, served
from tests.support.commands import DAGCALL
from tests.support.serving_process import (
    LEGACY,
    MODERN,
    STOP_SECONDS,
    Message,
    StdioServer,
    environ_for,
    request,
    stdio_server,
)

BIG = "x" * 90_000
"""An answer contains it twice, which is more than a pipe buffers."""
BEGINNING = b'{"jsonrpc":"2.0","id":"the call'
End = Literal["it is killed", "it is asked to stop", "its stdin is closed", "its stdout is closed"]


@pytest.fixture
def airflow() -> FakeAirflow:
    airflow = FakeAirflow(clock=WallClock())
    airflow.add_dag(FakeDag("big", tasks=[FakeTask("make", lambda _: BIG)]))
    return airflow


def a_call(revision: str) -> Message:
    return request(revision, 1, "tools/call", {"name": "big", "arguments": {}}) | {"id": "the call's, ü"}


@contextmanager
def unread(environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run `dagcall serve --stdio` without reading its stdout."""
    with subprocess.Popen(  # noqa: S603 - our own command
        [*DAGCALL, "serve", "--stdio"],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def call_without_reading(process: subprocess.Popen[bytes], revision: str) -> None:
    """Make a call, and return when the answer begins to arrive."""
    assert process.stdin is not None
    assert process.stdout is not None
    if revision == LEGACY:
        about = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "by hand", "version": "1"}}
        hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about}
        process.stdin.write(json.dumps(hello).encode() + b"\n")
        assert b"protocolVersion" in process.stdout.readline()
        process.stdin.write(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')
    process.stdin.write(json.dumps(a_call(revision)).encode() + b"\n")
    while process.stdout.read(len(BEGINNING)) != BEGINNING:
        process.stdout.readline()  # progress and list changes


def end(process: subprocess.Popen[bytes], how: End) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    match how:
        case "it is killed":
            process.kill()
        case "it is asked to stop":
            process.send_signal(signal.SIGTERM)
        case "its stdin is closed":
            process.stdin.close()
        case "its stdout is closed":
            process.stdout.close()
    code = process.wait(STOP_SECONDS)
    assert code == (-signal.SIGKILL if how == "it is killed" else 0)
    assert b"Traceback" not in process.stderr.read()


def call(server: StdioServer, revision: str) -> dict[str, Any]:
    *_, answer = server.stream(revision, a_call(revision))
    found: dict[str, Any] = answer["result"]["structuredContent"]
    return found


def close(server: StdioServer) -> None:
    assert server.process.stdin is not None
    server.process.stdin.close()
    code, errors = server.ended()
    assert (code, "Traceback" in errors) == (0, False)


@pytest.mark.parametrize(
    ("revision", "how"),
    [
        (MODERN, "it is killed"),
        (LEGACY, "it is asked to stop"),
        (MODERN, "its stdin is closed"),
        (LEGACY, "its stdout is closed"),
    ],
)
def test_unread_answer_is_replayed_and_a_read_one_is_not(airflow: FakeAirflow, revision: str, how: End) -> None:
    with served(airflow) as url:
        environ = environ_for(url)
        with unread(environ) as process:
            call_without_reading(process, revision)
            end(process, how)
        with stdio_server(environ) as server:
            repeated = call(server, revision)
            close(server)
        with stdio_server(environ) as server:
            another = call(server, revision)
            close(server)

    first, second = airflow.runs
    assert (repeated["dag_run_id"], repeated.get("replayed")) == (first.run_id, True)
    assert repeated["results"] == {"make": BIG}
    assert (another["dag_run_id"], "replayed" in another) == (second.run_id, False)
    assert all("(answered)" in (run.note or "") for run in airflow.runs)


def test_slow_reader_gets_the_whole_answer_during_shutdown(airflow: FakeAirflow) -> None:
    with served(airflow) as url, unread(environ_for(url)) as process:
        call_without_reading(process, MODERN)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=STOP_SECONDS)

    assert json.loads(BEGINNING + output)["result"]["structuredContent"]["results"] == {"make": BIG}
    assert process.returncode == 0
    assert b"Traceback" not in errors
    assert "(answered)" in (airflow.runs[0].note or "")
