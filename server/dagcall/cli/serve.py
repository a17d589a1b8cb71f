"""dagcall as a running process: stdio or Streamable HTTP, from start to clean stop.

Stopping (SIGTERM, SIGINT, or closed stdin) loses no call: on HTTP, waiting calls get `drain_seconds` to finish; on
stdio, where the client is about to kill us, they get none. Then each is answered with the handle of its run, which
continues in Airflow.
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import IO, Any, cast

import anyio
import uvicorn
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.auth.settings import AuthSettings as SdkAuthSettings
from mcp.server.lowlevel import NotificationOptions
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from dagcall.app import Dagcall, admitting, assembled, remembered_file
from dagcall.cli.metrics import METRICS_PATH, metrics_route, only_for
from dagcall.cli.reload import Reloader, Terminal
from dagcall.cli.stdio import AnswersOut, endable_stdin, own_stdout
from dagcall.errors import ConfigError
from dagcall.gc_tuning import searched_sparingly
from dagcall.mcp import StdioDeliveries, with_client_names, with_delivery, with_escaped_line_ends
from dagcall.settings import AuthSettings, Settings, address_of, is_loopback
from dagcall.tools import DagCache, Pins

logger = logging.getLogger(__name__)

MCP_PATH = "/mcp"
STDIO_WAIT_SECONDS = 50.0
"""Claude Desktop and all clients with the TypeScript SDK give up after 60 s."""
HTTP_WAIT_SECONDS = 240.0
"""Claude's remote connectors give up after 4 minutes, most frameworks after 5."""
LAST_ANSWERS_SECONDS = 3.0
"""The time for the last answers to reach their callers before the process ends."""


async def serve_stdio(settings: Settings, *, read_pins: Callable[[], Pins] | None, reloader: Reloader) -> None:
    """Serve one client over stdin and stdout, until it closes stdin or a signal stops us; SIGHUP does so, too."""
    async with (
        searched_sparingly(),
        assembled(
            settings, wait_seconds=STDIO_WAIT_SECONDS, read_pins=read_pins, remembered=_remembered(settings)
        ) as dagcall,
        _second_port(dagcall, settings),
    ):
        server = dagcall.mcp.sdk
        options = server.create_initialization_options(NotificationOptions(tools_changed=True))
        refreshing = asyncio.create_task(dagcall.catalog.keep_fresh(settings.refresh_seconds))
        reloading = asyncio.create_task(reloader.run(dagcall))

        dagcall.mcp.deliveries.stdio = deliveries = StdioDeliveries()
        dagcall.mcp.sdk.middleware.insert(0, deliveries.watch)  # first in the list, to see how each request ends
        asked_to_stop = asyncio.Event()

        async def serve(stdin: IO[str], answers_out: AnswersOut) -> None:
            out = cast("anyio.AsyncFile[str]", answers_out)
            async with stdio_server(anyio.wrap_file(stdin), out) as (incoming, outgoing):
                await server.run(incoming, outgoing, options)
                asked_to_stop.set()  # by the end of stdin

        def client_left() -> None:
            deliveries.client_left()
            asked_to_stop.set()

        with own_stdout() as stdout, endable_stdin() as (stdin, end_stdin):
            answers_out = AnswersOut(stdout, on_written=deliveries.written, on_gone=client_left)
            serving = asyncio.create_task(serve(stdin, answers_out))
            _on_stop_signal(asked_to_stop.set)
            stopping = asyncio.create_task(asked_to_stop.wait())
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await _answer_waiting_calls(dagcall)
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_ANSWERS_SECONDS):
                    await deliveries.all_written.wait()
                    await answers_out.idle.wait()
            end_stdin()
            for task in (serving, stopping, refreshing, reloading):
                task.cancel()
            outcomes = await asyncio.gather(serving, return_exceptions=True)
            await asyncio.gather(stopping, refreshing, reloading, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


def _remembered(settings: Settings) -> DagCache | None:
    file = remembered_file(settings)
    return None if file is None else DagCache(file)


async def _answer_waiting_calls(dagcall: Dagcall) -> None:
    """Answer every waiting call with its handle, and give the answers time to leave."""
    dagcall.mcp.begin_stop()
    dagcall.runs.drain()
    await asyncio.wait({asyncio.ensure_future(dagcall.mcp.intake.idle.wait())}, timeout=LAST_ANSWERS_SECONDS)
    await asyncio.sleep(0.05)  # the transport writes an answer after the handler has returned


def _on_stop_signal(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop)


async def serve_http(
    settings: Settings,
    *,
    host: str,
    port: int,
    read_pins: Callable[[], Pins] | None,
    on_ready: Callable[[str], None],
    reloader: Reloader,
) -> None:
    """Serve Streamable HTTP at `/mcp`, with `/health` and `/ready`, until stopped.

    Args:
        settings: the settings.
        host: the address to listen on.
        port: the port to listen on; 0 for any free one.
        read_pins: reads the pins at each refresh; None to publish without pins.
        on_ready: called with the URL once it answers.
        reloader: rereads the settings, also on SIGHUP; but if a terminal's end sent it, dagcall stops.

    Raises:
        ConfigError: the port is in use.
    """
    listener = _listen(host, port)
    port = listener.getsockname()[1]
    async with (
        AsyncExitStack() as context,
        searched_sparingly(),
        assembled(
            settings, wait_seconds=HTTP_WAIT_SECONDS, read_pins=read_pins, remembered=_remembered(settings)
        ) as dagcall,
        _second_port(dagcall, settings),
    ):
        stopping = asyncio.Event()
        reached = settings.server.model_copy(update={"host": host, "port": port})
        url = reached.url
        if reached.is_read_on_the_way:
            logger.warning(
                "callers reach dagcall at %s, in plain text: their keys and tokens can be read and used in transit; "
                "put a TLS proxy in front, and set server.public_url to its https address",
                url,
            )
        routes = [*_probes(dagcall, stopping), *metadata_routes(settings.auth, url)]
        metrics = [] if settings.metrics_access == "none" else [_metrics_route(dagcall, settings, reached.host_names)]
        app = http_app(dagcall, host_names=reached.host_names, routes=[*routes, *metrics])
        guarded = await context.enter_async_context(_guarded(dagcall, settings, app, url, routes))
        # sse-starlette would close every stream at the first signal; we answer their calls instead.
        AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]
        server = _HttpServer(
            uvicorn.Config(
                guarded,
                log_config=None,
                access_log=False,
                lifespan="on",
                timeout_graceful_shutdown=int(settings.server.drain_seconds + 2 * LAST_ANSWERS_SECONDS) + 1,
            ),
            stopping,
        )
        refreshing = asyncio.create_task(dagcall.catalog.keep_fresh(settings.refresh_seconds))
        reloading = asyncio.create_task(reloader.run(dagcall))
        draining = asyncio.create_task(_drain(dagcall, stopping, settings.server.drain_seconds))
        terminal = Terminal()

        def hang_up() -> None:
            if terminal.is_gone:
                server.handle_exit(signal.SIGTERM, None)
            else:
                reloader.wanted.set()

        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up)
        on_ready(address_of(host, port))
        try:
            await server.serve(sockets=[listener])
        finally:
            for task in (refreshing, reloading, draining):
                task.cancel()
            await asyncio.gather(refreshing, reloading, draining, return_exceptions=True)


def http_app(dagcall: Dagcall, *, host_names: Sequence[str], routes: Sequence[Route]) -> ASGIApp:
    """Return the ASGI app, without authentication.

    Args:
        dagcall: answers requests at `/mcp`.
        host_names: the names accepted in Host headers.
        routes: further routes.
    """
    app = dagcall.mcp.sdk.streamable_http_app(
        streamable_http_path=MCP_PATH,
        stateless_http=True,
        transport_security=_hosts_taken(host_names),
        custom_starlette_routes=list(routes),
    )
    return with_delivery(with_escaped_line_ends(with_client_names(app, path=MCP_PATH)))


@asynccontextmanager
async def _guarded(
    dagcall: Dagcall, settings: Settings, app: ASGIApp, url: str, routes: Sequence[Route]
) -> AsyncIterator[ASGIApp]:
    """Add authentication to the app, if it is on; `routes` stay open."""
    if not settings.auth.is_on:
        yield app
        return
    metadata_url = str(build_resource_metadata_url(AnyHttpUrl(url)))
    open_paths = {route.path for route in routes}
    async with admitting(
        settings.auth, url=url, metadata_url=metadata_url, open_paths=open_paths, refusals=dagcall.refusals
    ) as admission:
        yield admission.guard(app)


def _metrics_route(dagcall: Dagcall, settings: Settings, host_names: Sequence[str]) -> Route:
    """Return the route of dagcall's own port; with authentication, it is not one of the open ones."""
    hosts = _hosts_taken(host_names)
    if settings.metrics_access == "open":
        return metrics_route(dagcall.metrics, hosts=hosts)
    return metrics_route(dagcall.metrics, hosts=hosts, is_allowed=only_for(settings.metrics.callers or ()))


@asynccontextmanager
async def _second_port(dagcall: Dagcall, settings: Settings) -> AsyncIterator[None]:
    """Serve the metrics on their own port during the block, if they have one.

    Raises:
        ConfigError: the port is in use.
    """
    host, port = settings.metrics.host, settings.metrics.port
    if port is None:
        yield
        return
    listener = _listen(host, port, setting="metrics.port")
    # Web pages can reach only this machine's own addresses; other names are those by which Prometheus finds this one.
    hosts = (
        _hosts_taken(settings.server.host_names)
        if is_loopback(host)
        else TransportSecuritySettings(enable_dns_rebinding_protection=False)
    )
    app = Starlette(routes=[metrics_route(dagcall.metrics, hosts=hosts)])
    server = _SecondServer(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="metrics")
    logger.info("metrics are at %s", address_of(host, port).replace(MCP_PATH, METRICS_PATH))
    try:
        yield
    finally:
        server.should_exit = server.force_exit = True
        await asyncio.gather(serving, return_exceptions=True)


def metadata_routes(auth: AuthSettings, url: str) -> list[Route]:
    """Return the routes that tell clients which authorization server to use (RFC 9728)."""
    if auth.issuer is None:
        return []
    # Uses the SDK's settings, because pydantic otherwise adds a slash to an address without a path. Not the SDK, but
    # `tokens` checks the audience.
    spelt = SdkAuthSettings.model_validate(
        {"issuer_url": auth.issuer, "resource_server_url": url, "validate_token_resource": False}
    )
    return create_protected_resource_routes(
        resource_url=spelt.resource_server_url or AnyHttpUrl(url),
        authorization_servers=[spelt.issuer_url],
        scopes_supported=list(auth.required_scopes) or None,
    )


class _HttpServer(uvicorn.Server):
    """uvicorn, reporting when it is asked to stop."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: Any) -> None:  # noqa: ARG002 - uvicorn's signature
        """Stop gracefully, and on a second Ctrl-C immediately; unlike with uvicorn's own, the exit code is then 0."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


class _SecondServer(uvicorn.Server):
    """uvicorn, leaving signals to the first server."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing."""
        yield


async def _drain(dagcall: Dagcall, stopping: asyncio.Event, drain_seconds: float) -> None:
    """On a stop, give calls some time to finish, then answer the rest with their handles."""
    await stopping.wait()
    dagcall.mcp.begin_stop()
    if dagcall.mcp.intake.in_progress:
        logger.info("stopping: %d calls have up to %g s to finish", dagcall.mcp.intake.in_progress, drain_seconds)
    await asyncio.sleep(drain_seconds)
    await _answer_waiting_calls(dagcall)


def _listen(host: str, port: int, *, setting: str = "--port") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise ConfigError(
            f"port {port} of {host} cannot be used: {os.strerror(error.errno or 0)}; choose another with {setting}"
        ) from error
    # asyncio sets this only for sockets that it creates itself; without it, every answer is delayed by 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _hosts_taken(names: Sequence[str]) -> TransportSecuritySettings:
    """Accept only our own names in Host headers, against DNS rebinding by web pages."""
    hosts = [*names, *(f"{name}:*" for name in names)]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=hosts,
        allowed_origins=[f"{scheme}://{name}" for scheme in ("http", "https") for name in hosts],
    )


def _probes(dagcall: Dagcall, stopping: asyncio.Event) -> list[Route]:
    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> JSONResponse:
        """Return only whether we are ready: this route is open to everyone; the log says why not."""
        is_ready = dagcall.is_ready and not stopping.is_set()
        return JSONResponse({"is_ready": is_ready}, status_code=200 if is_ready else 503)

    return [Route("/health", health), Route("/ready", ready)]
