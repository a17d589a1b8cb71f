"""Settings that change while `dagcall serve` runs, SIGHUP, and its log. Airflow is the fake, on a real socket."""

import fcntl
import json
import os
import signal
import subprocess
import termios
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.fake_airflow.serving import served
from tests.processes.example import airflow_with_dags
from tests.support.commands import DAGCALL, free_port
from tests.support.output import Output
from tests.support.plain_http import PLAIN
from tests.support.polling import until
from tests.support.serving_process import (
    MODERN,
    START_SECONDS,
    HttpServer,
    environ_for,
    http_server,
    request,
    stdio_server,
)


def environ_of(airflow_url: str, file: Path) -> dict[str, str]:
    """Return an environment in which only the file names dags."""
    environ = environ_for(airflow_url, DAGCALL_CONFIG=str(file))
    del environ["DAGCALL_DAGS"]
    return environ


def tools_of(server: HttpServer) -> set[str]:
    listed = server.ask(MODERN, "tools/list")["result"]["tools"]
    return {tool["name"] for tool in listed if not tool["name"].endswith(("_dag_run", "_dag_result"))}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "dagcall.toml"
    file.write_text('dags = ["echo", "endless"]\n')
    return file


def test_changed_file_is_reread_and_a_call_in_progress_goes_on(file: Path) -> None:
    airflow = airflow_with_dags()
    with served(airflow) as url, http_server(environ_of(url, file)) as server, ThreadPoolExecutor() as pool:
        calling = pool.submit(server.ask, MODERN, "tools/call", name="endless", arguments={"x": 1})
        until(lambda: len(airflow.runs) == 1)
        file.write_text('dags = ["nest"]\n')
        until(lambda: tools_of(server) == {"nest"})
        file.write_text("dags = [")
        server.errors.until(lambda line: "the settings were not reloaded" in line, seconds=60)
        airflow.finish(airflow.runs[0])
        answer = calling.result(60)
        assert tools_of(server) == {"nest"}

    assert answer["result"]["structuredContent"]["state"] == "success"


def test_sighup_rereads_the_settings_and_stops_nothing(file: Path) -> None:
    with served(airflow_with_dags()) as url, http_server(environ_of(url, file)) as server:
        server.process.send_signal(signal.SIGHUP)
        server.errors.until(lambda line: "the settings were reloaded" in line, seconds=60)
        assert tools_of(server) == {"echo", "endless"}
        code, errors = server.stop()

    assert code == 0
    assert "Traceback" not in errors


@contextmanager
def in_a_terminal(environ: dict[str, str]) -> Iterator[tuple[HttpServer, int]]:
    """Run `dagcall serve` in a terminal of its own; yield it and the terminal's other end."""
    ours, theirs = os.openpty()
    port = free_port()
    with (
        subprocess.Popen(  # noqa: S603 - our own command
            [*DAGCALL, "serve", "--port", str(port)],
            env=environ,
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - the child has one thread
        ) as process,
        Output(process.stderr) as errors,
    ):
        os.close(theirs)
        try:
            errors.until(lambda line: line.startswith("dagcall serves "), seconds=START_SECONDS)
            yield HttpServer(process, errors, f"http://127.0.0.1:{port}/mcp"), ours
        finally:
            process.kill()


def test_closed_terminal_stops_dagcall_but_sighup_within_it_does_not(file: Path) -> None:
    with served(airflow_with_dags()) as url, in_a_terminal(environ_of(url, file)) as (server, terminal):
        server.process.send_signal(signal.SIGHUP)
        server.errors.until(lambda line: "the settings were reloaded" in line, seconds=60)
        assert httpx.get(f"{server.root}/health", trust_env=False, verify=PLAIN).status_code == 200
        os.close(terminal)
        code, _ = server.ended()

    assert code == 0


def test_sighup_stops_a_server_on_stdio(file: Path) -> None:
    with served(airflow_with_dags()) as url, stdio_server(environ_of(url, file)) as server:
        server.hello(MODERN)
        *_, answer = server.stream(MODERN, request(MODERN, 1, "tools/list", {}))
        assert "result" in answer
        code, _ = server.stop(signal.SIGHUP)

    assert code == 0


def test_json_log_has_one_object_per_line_and_one_line_per_call(file: Path, tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    with served(airflow_with_dags()) as url:
        environ = environ_of(url, file) | {"DAGCALL_LOG_FORMAT": "json", "DAGCALL_AUDIT_FILE": str(audit)}
        with stdio_server(environ) as server:
            for number in (1, 2):
                call = {"name": "echo", "arguments": {"it": "a\x7f\u2028"}}
                *_, answer = server.stream(MODERN, request(MODERN, number, "tools/call", call))
                assert "result" in answer
            _, errors = server.stop()

    logged = [json.loads(line) for line in errors.splitlines()]
    assert all(line["level"] in {"info", "warning"} and line["time"].endswith("+00:00") for line in logged)
    calls = [line for line in logged if line["logger"] == "dagcall.calls"]
    audited = [json.loads(line) for line in audit.read_text().splitlines()]
    own = {"time", "level", "logger", "message"}
    assert [{key: value for key, value in line.items() if key not in own} for line in calls] == [
        {key: value for key, value in line.items() if key not in {"time", "arguments_digest"}} for line in audited
    ]
    assert [(line["tool"], line["outcome"], line["request"]) for line in calls] == [
        ("echo", "success", "1"),
        ("echo", "success", "2"),
    ]


def test_text_log_says_what_became_of_a_call_unless_the_level_is_higher(file: Path) -> None:
    said = {}
    with served(airflow_with_dags()) as url:
        for level in ("info", "warning"):
            environ = environ_of(url, file) | {"DAGCALL_LOG_LEVEL": level}
            with http_server(environ) as server:
                server.ask(MODERN, "tools/call", name="echo", arguments={"it": "a"})
                _, said[level] = server.stop()

    assert "dagcall.calls: tools/call echo: success after " in said["info"]
    assert " s (run mcp__" in said["info"]
    assert "dagcall.calls" not in said["warning"]
