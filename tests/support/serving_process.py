"""`dagcall serve` as a process, and raw JSON-RPC without an SDK."""

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.fake_airflow import FakeAirflow
from tests.support.commands import DAGCALL, clean_environ, free_port
from tests.support.output import Output
from tests.support.plain_http import PLAIN

MODERN, LEGACY = "2026-07-28", "2025-11-25"
START_SECONDS = 120.0
STOP_SECONDS = 60.0
CLIENT = {"name": "by hand", "version": "1"}

Message = dict[str, Any]


def request(revision: str, number: int, method: str, params: Mapping[str, Any]) -> Message:
    """Return a request as a client of this revision sends it; it asks for progress."""
    meta: Message = {"progressToken": number}
    if revision == MODERN:
        meta |= {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": CLIENT,
        }
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": {**params, "_meta": meta}}


def headers(revision: str, message: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of a request over HTTP."""
    found = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": revision}
    if revision == MODERN:
        found["Mcp-Method"] = message["method"]
        if "name" in message["params"]:
            found["Mcp-Name"] = message["params"]["name"]
    return found


def environ_for(airflow_url: str, **more: str) -> dict[str, str]:
    """Return an environment in which dagcall publishes all dags of a fake Airflow."""
    return clean_environ(
        **{
            "DAGCALL_AIRFLOW_URL": airflow_url,
            "DAGCALL_AIRFLOW_USERNAME": "admin",
            "DAGCALL_AIRFLOW_PASSWORD": "admin",
            "DAGCALL_DAGS": "*",
            "DAGCALL_REFRESH_SECONDS": "1",
        }
        | more
    )


@dataclass
class Server:
    """A running `dagcall serve`."""

    process: subprocess.Popen[str]
    errors: Output

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit code and everything on stderr."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        """Wait for the process to end; return the exit code and everything on stderr."""
        return self.process.wait(STOP_SECONDS), self.errors.rest()


@dataclass
class HttpServer(Server):
    """A running `dagcall serve` over HTTP."""

    url: str

    @property
    def root(self) -> str:
        """Return its URL without /mcp."""
        return self.url.removesuffix("/mcp")

    def stream(self, revision: str, message: Mapping[str, Any]) -> Iterator[Message]:
        """Send one request and yield the messages as they arrive."""
        with httpx.stream(
            "POST",
            self.url,
            json=message,
            headers=headers(revision, message),
            timeout=60,
            trust_env=False,
            verify=PLAIN,
        ) as response:
            if response.headers["content-type"].startswith("application/json"):
                yield json.loads(response.read())
                return
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    yield json.loads(line.removeprefix("data: "))

    def ask(self, revision: str, method: str, **params: Any) -> Message:
        """Send one request and return its answer."""
        *_, last = self.stream(revision, request(revision, 1, method, params))
        return last


@contextmanager
def http_server(
    environ: Mapping[str, str], command: Sequence[str] = DAGCALL, *, port: int | None = None
) -> Iterator[HttpServer]:
    """Run `dagcall serve` until the block ends: on this port, or on a free one, retrying if it has been taken."""
    with ExitStack() as running:
        while True:
            server = running.enter_context(_http_server(environ, command, port or free_port()))
            line = server.errors.until(
                lambda line: line.startswith(("dagcall serves ", "port ")), seconds=START_SECONDS
            )
            if line.startswith("dagcall serves "):
                break
            assert port is None, line
        yield server


@contextmanager
def _http_server(environ: Mapping[str, str], command: Sequence[str], port: int) -> Iterator[HttpServer]:
    with (
        subprocess.Popen(  # noqa: S603 - our own command
            [*command, "serve", "--port", str(port)],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        Output(process.stderr) as errors,
    ):
        try:
            yield HttpServer(process, errors, f"http://127.0.0.1:{port}/mcp")
        finally:
            process.kill()


@dataclass
class StdioServer(Server):
    """A running `dagcall serve --stdio`."""

    output: Output

    def send(self, message: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def receive(self) -> Message:
        """Return the next message; every line on stdout is one."""
        message: Message = json.loads(self.output.until(lambda _: True, seconds=START_SECONDS))
        assert message["jsonrpc"] == "2.0"
        return message

    def hello(self, revision: str) -> None:
        """Perform the handshake, if the revision has one."""
        if revision == LEGACY:
            about = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
            self.send({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about})
            assert self.receive()["result"]["protocolVersion"] == LEGACY
            self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def stream(self, revision: str, message: Mapping[str, Any]) -> Iterator[Message]:
        """Send one request and yield the messages as they arrive, up to its answer."""
        self.hello(revision)
        self.send(message)
        while True:
            received = self.receive()
            yield received
            if received.get("id") == message["id"]:
                return


@contextmanager
def stdio_server(environ: Mapping[str, str]) -> Iterator[StdioServer]:
    """Run `dagcall serve --stdio` until the block ends."""
    with (
        subprocess.Popen(  # noqa: S603 - our own command
            [*DAGCALL, "serve", "--stdio"],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        Output(process.stdout) as output,
        Output(process.stderr) as errors,
    ):
        try:
            yield StdioServer(process, errors, output)
        finally:
            process.kill()


def the_run_of(airflow: FakeAirflow) -> str:
    """Return the run id of the only run."""
    (run,) = airflow.runs
    return run.run_id
