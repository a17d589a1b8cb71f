"""A reverse proxy that counts requests, and those in flight. It passes bytes on as they come, streams too."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h11

HOST = "127.0.0.1"
CHUNK = 65_536


@dataclass
class Counts:
    """What has passed so far."""

    requests: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    seen: list[tuple[float, str]] = field(default_factory=list)
    """Of each request: when it came, and its path."""

    def reset(self) -> None:
        """Count anew; what is in flight stays."""
        self.requests, self.most_in_flight = 0, self.in_flight
        self.seen.clear()

    def began(self, path: str) -> None:
        """Count a request."""
        self.requests += 1
        self.seen.append((time.perf_counter(), path))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)


@dataclass
class _Exchange:
    """One connection, and how far its request and its answer are: h11 only watches the bytes go by."""

    counts: Counts
    asking: h11.Connection
    answering: h11.Connection
    is_open: bool = False

    def asked(self, data: bytes) -> None:
        self.asking.receive_data(data)
        self._follow_request()

    def _follow_request(self) -> None:
        while isinstance(event := self.asking.next_event(), h11.Request | h11.Data | h11.EndOfMessage):
            if isinstance(event, h11.Request):
                self.is_open = True
                self.counts.began(event.target.decode("ascii").partition("?")[0])
            self.answering.send(event)

    def answered(self, data: bytes) -> None:
        self.answering.receive_data(data)
        while isinstance(event := self.answering.next_event(), h11.Response | h11.Data | h11.EndOfMessage):
            self.asking.send(event)
            if isinstance(event, h11.EndOfMessage):
                self.ended()
                with contextlib.suppress(h11.LocalProtocolError):  # this connection takes no further request
                    self.asking.start_next_cycle()
                    self.answering.start_next_cycle()
                    self._follow_request()

    def ended(self) -> None:
        self.counts.in_flight -= self.is_open
        self.is_open = False


@asynccontextmanager
async def counting_proxy(port: int) -> AsyncIterator[tuple[str, Counts]]:
    """Pass everything on to `port` of this machine; give the proxy's own address and its counts."""
    counts = Counts()
    ends: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        exchange = _Exchange(counts, h11.Connection(h11.SERVER), h11.Connection(h11.CLIENT))
        try:
            await _pass_on(reader, writer, exchange, port)
        finally:
            exchange.ended()
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: of those that asyncio makes itself, a cancelled one is reported as an error.
        task = asyncio.create_task(serve(reader, writer))
        ends.add(task)
        task.add_done_callback(ends.discard)

    server = await asyncio.start_server(accept, HOST, 0, backlog=1024)
    try:
        yield f"http://{HOST}:{server.sockets[0].getsockname()[1]}", counts
    finally:
        server.close()
        for task in tuple(ends):
            task.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, exchange: _Exchange, port: int) -> None:
    """Pass bytes on in both directions until one side closes."""
    try:
        far_reader, far_writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return

    async def there() -> None:
        while data := await reader.read(CHUNK):
            exchange.asked(data)
            far_writer.write(data)
            await far_writer.drain()

    async def back() -> None:
        while data := await far_reader.read(CHUNK):
            exchange.answered(data)  # first: who has read it may ask again before this goes on
            writer.write(data)
            await writer.drain()

    directions = {asyncio.create_task(there()), asyncio.create_task(back())}
    try:
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in directions:
            task.cancel()
        await asyncio.gather(*directions, return_exceptions=True)
        far_writer.close()
