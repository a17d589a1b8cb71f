"""dagcall as a running process: stdio or Streamable HTTP, from start to clean stop.

A request to stop (SIGTERM, SIGINT, or stdin closing) loses no call: on HTTP waiting calls go on for `drain_seconds`, on
stdio, where the client is about to kill us, they do not; then each is answered with the handle of its run, which goes
on in Airflow.
"""

import asyncio
import hashlib
import json
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

import anyio
import uvicorn
from mcp.server.lowlevel import NotificationOptions
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from sse_starlette.sse import AppStatus
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from dagcall.airflow import AirflowApi
from dagcall.catalog import Catalog
from dagcall.config import AirflowSettings, Settings, read_secret
from dagcall.credentials import Credentials, FetchToken, static_token, token_command
from dagcall.delivery import with_delivery
from dagcall.errors import ConfigError
from dagcall.gate import Gate
from dagcall.identity import Identity
from dagcall.mcp_server import McpServer
from dagcall.rest import AirflowRest, log_in
from dagcall.runs import Runs
from dagcall.stdin import endable_stdin
from dagcall.waiter import Waiter

logger = logging.getLogger(__name__)

STDIO_WAIT_SECONDS = 50.0
"""Claude Desktop and every client on the TypeScript SDK give up after 60 s."""
HTTP_WAIT_SECONDS = 240.0
"""Claude's remote connectors give up after 4 minutes, most frameworks after 5."""
LAST_ANSWERS_SECONDS = 3.0
"""From "answer now" to the end of the process: for the answers to reach their callers."""


@dataclass(frozen=True, slots=True)
class Dagcall:
    """Everything that one process needs to serve."""

    catalog: Catalog
    runs: Runs
    waiter: Waiter
    mcp: McpServer


@asynccontextmanager
async def assembled(
    settings: Settings,
    *,
    wait_seconds: float,
    pins: Mapping[str, dict[str, Any]] | None = None,
    transport: Any = None,
    wall_clock: Callable[[], datetime] | None = None,
) -> AsyncIterator[Dagcall]:
    """Wire dagcall together. Nothing is asked of Airflow yet.

    Args:
        settings: what the operator set.
        wait_seconds: how long a call waits where its tool does not say.
        pins: tool name -> pinned tool; None to publish without pins.
        transport: in place of the network, for tests; as httpx takes it.
        wall_clock: the time in UTC, for tests.
    """
    gate = Gate(settings.airflow.max_in_flight, queue=settings.airflow.max_in_line)
    credentials = Credentials(fetch_token(settings.airflow, gate, transport=transport), now=time.time)
    rest = AirflowRest(settings.airflow.url, credentials, gate=gate, verify=settings.airflow.tls(), transport=transport)
    api = AirflowApi(rest, ui_url=settings.airflow.ui_url)
    catalog = Catalog(api, settings.policies, pins=pins)
    waiter = Waiter(api)
    runs = Runs(api, catalog, waiter, Identity(identity_secret(settings)), wall_clock=wall_clock)
    mcp = McpServer(
        catalog,
        runs,
        wait_seconds=settings.server.wait_seconds or wait_seconds,
        max_wait_seconds=settings.server.max_wait_seconds,
        cache_seconds=settings.refresh_seconds,
    )
    try:
        yield Dagcall(catalog, runs, waiter, mcp)
    finally:
        await runs.aclose()
        await waiter.aclose()
        await rest.aclose()


def identity_secret(settings: Settings) -> bytes:
    """Return what run ids are made with: the secret that was set, else one that follows from the log-in to Airflow.

    Replicas that log in with the same password or token then make the same run ids, and so does a restarted server.
    Where nothing lasting is known (a command prints the token, or everybody may log in), each process has its own, and
    a retry is recognised only by the process that saw the first call.
    """
    server, airflow = settings.server, settings.airflow
    if server.secret is not None:
        return server.secret.get_secret_value().encode()
    if server.secret_file is not None:
        return read_secret(server.secret_file, "server.secret_file").encode()
    lasting = [secret.get_secret_value() for secret in (airflow.password, airflow.token) if secret is not None]
    if airflow.password_file is not None:
        lasting.append(read_secret(airflow.password_file, "airflow.password_file"))
    if not lasting:
        logger.info("without server.secret a call is not recognised as a retry after a restart")
        return secrets.token_bytes(32)
    return hashlib.sha256(json.dumps(["dagcall", airflow.url, airflow.username, lasting[0]]).encode()).digest()


def fetch_token(airflow: AirflowSettings, gate: Gate, *, transport: Any = None) -> FetchToken | None:
    """Return how to get a token; None for an Airflow that lets everybody in.

    Raises:
        ConfigError: a file that should hold a secret does not.
    """
    if airflow.username is not None:
        return _password_log_in(airflow, airflow.username, gate, transport)
    if airflow.token is not None:
        return static_token(airflow.token.get_secret_value())
    if airflow.token_command is not None:
        return token_command(airflow.token_command)
    if airflow.token_file is not None:
        path = airflow.token_file
        read_secret(path, "airflow.token_file")

        async def read() -> str:
            return read_secret(path, "airflow.token_file")

        return read
    return None


def _password_log_in(airflow: AirflowSettings, username: str, gate: Gate, transport: Any) -> FetchToken:
    if airflow.password is not None:
        password = airflow.password.get_secret_value()
    elif airflow.password_file is not None:
        password = read_secret(airflow.password_file, "airflow.password_file")
    else:
        raise ConfigError("airflow.username needs a password")
    verify = airflow.tls()

    async def fetch() -> str:
        return await log_in(airflow.url, username, password, gate=gate, verify=verify, transport=transport)

    return fetch


async def serve_stdio(settings: Settings, *, pins: Mapping[str, dict[str, Any]] | None) -> None:
    """Serve one client over stdin and stdout, until it closes stdin or we are asked to stop."""
    async with assembled(settings, wait_seconds=STDIO_WAIT_SECONDS, pins=pins) as dagcall:
        server = dagcall.mcp.sdk
        options = server.create_initialization_options(NotificationOptions(tools_changed=True))
        refreshing = asyncio.create_task(dagcall.catalog.keep_fresh(settings.refresh_seconds))

        async def serve(stdin: IO[str]) -> None:
            async with stdio_server(stdin=anyio.wrap_file(stdin)) as (incoming, outgoing):
                await server.run(incoming, outgoing, options)

        with endable_stdin() as (stdin, end_stdin):
            serving = asyncio.create_task(serve(stdin))
            asked_to_stop = asyncio.Event()
            _on_stop_signal(asked_to_stop.set)
            stopping = asyncio.create_task(asked_to_stop.wait())
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if asked_to_stop.is_set():
                await _answer_waiting_calls(dagcall)
            end_stdin()
            for task in (serving, stopping, refreshing):
                task.cancel()
            outcomes = await asyncio.gather(serving, return_exceptions=True)
            await asyncio.gather(stopping, refreshing, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


async def _answer_waiting_calls(dagcall: Dagcall) -> None:
    """Have every waiting call answered with its handle, and give the answers time to leave."""
    dagcall.mcp.begin_stop()
    dagcall.runs.drain()
    await asyncio.wait({asyncio.ensure_future(dagcall.mcp.idle.wait())}, timeout=LAST_ANSWERS_SECONDS)
    await asyncio.sleep(0.05)  # the transport writes an answer after the handler has returned it


def _on_stop_signal(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop)


async def serve_http(
    settings: Settings,
    *,
    host: str,
    port: int,
    pins: Mapping[str, dict[str, Any]] | None,
    on_ready: Callable[[str], None],
) -> None:
    """Serve Streamable HTTP at `/mcp`, with `/health` and `/ready` beside it, until asked to stop.

    Args:
        settings: what the operator set.
        host: an address of this machine only.
        port: the port to listen on; 0 for any free one.
        pins: tool name -> pinned tool; None to publish without pins.
        on_ready: told the URL once it answers.

    Raises:
        ConfigError: the port is in use.
    """
    listener = _listen(host, port)
    port = listener.getsockname()[1]
    async with assembled(settings, wait_seconds=HTTP_WAIT_SECONDS, pins=pins) as dagcall:
        stopping = asyncio.Event()
        app = dagcall.mcp.sdk.streamable_http_app(
            stateless_http=True,
            transport_security=_loopback_only(host),
            custom_starlette_routes=_probes(dagcall, stopping),
        )
        # sse-starlette would cut every stream off at the first signal; the calls on them are to be answered instead.
        AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]
        server = _HttpServer(
            uvicorn.Config(
                with_delivery(app),
                log_config=None,
                access_log=False,
                lifespan="on",
                timeout_graceful_shutdown=int(settings.server.drain_seconds + 2 * LAST_ANSWERS_SECONDS) + 1,
            ),
            stopping,
        )
        refreshing = asyncio.create_task(dagcall.catalog.keep_fresh(settings.refresh_seconds))
        draining = asyncio.create_task(_drain(dagcall, stopping, settings.server.drain_seconds))
        on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}/mcp")
        try:
            await server.serve(sockets=[listener])
        finally:
            for task in (refreshing, draining):
                task.cancel()
            await asyncio.gather(refreshing, draining, return_exceptions=True)


class _HttpServer(uvicorn.Server):
    """uvicorn, telling us when it was asked to stop."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: Any) -> None:  # noqa: ARG002 - uvicorn's signature
        """Stop in order, and on a second Ctrl-C at once; unlike uvicorn's own, the process then ends with code 0."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


async def _drain(dagcall: Dagcall, stopping: asyncio.Event, drain_seconds: float) -> None:
    """Once asked to stop, let calls go on for a while, then have the rest answered with their handles."""
    await stopping.wait()
    dagcall.mcp.begin_stop()
    if dagcall.mcp.calls_in_progress:
        logger.info("stopping: %d calls go on for up to %g s", dagcall.mcp.calls_in_progress, drain_seconds)
    await asyncio.sleep(drain_seconds)
    await _answer_waiting_calls(dagcall)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise ConfigError(
            f"port {port} of {host} cannot be used: {os.strerror(error.errno or 0)}; choose another with --port"
        ) from error
    # asyncio does this only for sockets that it makes itself; without it every answer waits 40 ms for nothing.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _loopback_only(host: str) -> TransportSecuritySettings:
    """Accept only callers that name this machine: a web page that resolves its own name to us is turned away."""
    names = sorted({"127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host})
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[f"{name}:*" for name in names] + names,
        allowed_origins=[f"http://{name}:*" for name in names] + [f"http://{name}" for name in names],
    )


def _probes(dagcall: Dagcall, stopping: asyncio.Event) -> list[Route]:
    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> JSONResponse:
        snapshot = dagcall.catalog.snapshot
        is_ready = dagcall.catalog.is_read and not stopping.is_set()
        content = {"is_ready": is_ready, "tools": len(snapshot.tools), "problem": snapshot.problem}
        return JSONResponse(content, status_code=200 if is_ready else 503)

    return [Route("/health", health), Route("/ready", ready)]
