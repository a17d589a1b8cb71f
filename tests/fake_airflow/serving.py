"""The fake behind a real socket, for tests that start a process."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.fake_airflow.server import FakeAirflow
from tests.support.on_a_socket import on_a_socket


class WallClock:
    """Real time, for a fake on a socket."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - this is the clock

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@contextmanager
def served(airflow: FakeAirflow, port: int = 0, **tls: Any) -> Iterator[str]:
    """Serve on a port of the loopback interface, as `on_a_socket` does."""
    airflow.steady_streams = True
    with on_a_socket(as_asgi(airflow), port, **tls) as url:
        yield url


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
        except httpx.TransportError:  # a fault: uvicorn drops a connection if the announced body is not sent
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
