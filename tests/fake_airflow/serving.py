"""The fake behind a real socket, for tests that start a process."""

import asyncio
import concurrent.futures
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import uvicorn

from tests.fake_airflow.server import FakeAirflow


class WallClock:
    """Real time, for a fake that is served."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - a clock is where the time comes from

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class PromptServer(uvicorn.Server):
    """uvicorn, told when to end; by itself it looks ten times a second, and again for whoever is still connected."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ending = concurrent.futures.Future[None]()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await asyncio.wrap_future(self.ending)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        answering = tuple(self.server_state.tasks)
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)


@contextmanager
def served(airflow: FakeAirflow, port: int = 0, **tls: Any) -> Iterator[str]:
    """Serve on a port of loopback, any free one with 0, in a thread, and give the address.

    `tls` is what uvicorn takes: `ssl_certfile` and its kin.
    """
    airflow.steady_streams = True
    config = uvicorn.Config(
        as_asgi(airflow),
        host="127.0.0.1",
        port=port,
        log_level="critical",
        lifespan="off",
        **tls,
    )
    server = PromptServer(config)
    sockets = [config.bind_socket()]
    sockets[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio does so only for sockets of its own
    thread = threading.Thread(target=server.run, args=(sockets,), daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{sockets[0].getsockname()[1]}"
    finally:
        server.ending.set_result(None)
        thread.join()
        sockets[0].close()


def as_asgi(airflow: FakeAirflow) -> Any:
    """Return the fake as an ASGI application."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        content, more = b"", True
        while more:
            message = await receive()
            content += message.get("body", b"")
            more = message.get("more_body", False)
        path = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        url = httpx.URL(scheme="http", host="127.0.0.1", raw_path=path)
        request = httpx.Request(scope["method"], url, headers=scope["headers"], content=content)
        try:
            response = await airflow.handle(request)
        except httpx.TransportError:  # a fault: uvicorn drops a connection whose promised body does not come
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
            return
        by_hop = {b"transfer-encoding", b"content-length"}
        headers = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in by_hop]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        sending = asyncio.ensure_future(_send_body(response, send))
        leaving = asyncio.ensure_future(receive())
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)
        await response.aclose()

    return app


async def _send_body(response: httpx.Response, send: Any) -> None:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for chunk in response.stream:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
