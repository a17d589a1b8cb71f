"""A proxy between dagcall and Airflow that loses, cuts, delays and replaces requests and answers.

HTTP/1.1 over TCP, one request per connection at a time, as httpx sends them. Answers are passed on chunk by chunk, so
streams remain streams.
"""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

import h11

CHUNK = 65536
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with 0 seconds: closing sends a reset and discards unsent data."""
BY_HOP = {b"connection", b"keep-alive"}

Headers = list[tuple[bytes, bytes]]


class Loss(Enum):
    """What happens to a request and its answer."""

    REQUEST = "the request never reaches Airflow, and the connection is reset"
    ANSWER = "Airflow answers, and the connection is reset before any byte of the answer is passed on"
    HALF_THE_ANSWER = "the connection ends in the middle of the answer's body"
    SILENCE = "the request never reaches Airflow, and no answer is sent"
    DELAY = "Airflow's answer is passed on after `seconds`, once `released` is set"
    REPLACED = "the request never reaches Airflow; the answer is `status`, `headers` and `body`"
    REPLACED_AFTER_EFFECT = "Airflow answers, and `status`, `headers` and `body` replace its answer"


@dataclass(eq=False, kw_only=True)
class Fault:
    """What happens to the next `times` requests of a kind."""

    loss: Loss
    method: str = "GET|POST|PATCH|DELETE"
    """A pattern that must match the whole method."""
    path: str = ""
    """A pattern that must match anywhere in the path, without the query."""
    times: int = 1
    skip: int = 0
    """How many matching requests pass first."""
    after: "Fault | None" = None
    """The fault begins once this one is used up."""
    seconds: float = 0.0
    released: asyncio.Event | None = None
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"detail": "a fault on purpose"}'

    def applies_to(self, method: str, path: str) -> bool:
        """Return whether the fault applies to this request."""
        has_begun = self.after is None or self.after.times == 0
        is_meant = bool(re.fullmatch(self.method, method)) and bool(re.search(self.path, path))
        return has_begun and self.times > 0 and is_meant


@dataclass(eq=False)
class Passed:
    """One request as the proxy received it."""

    method: str
    path: str
    at: float
    """When it was received, by the loop's clock."""
    fault: Fault | None
    status: int | None = None
    """The answer's status; None until an answer is sent."""


@dataclass
class _Answer:
    head: h11.Response
    body: AsyncIterator[bytes]


class _Client:
    """One connection of a client; either side may reset it at any time.

    Args:
        accepted: its socket.
    """

    def __init__(self, accepted: socket.socket) -> None:
        self.http = h11.Connection(h11.SERVER)
        self._socket = accepted
        self._transport: asyncio.WriteTransport | None = None
        self._is_reset = False

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open the connection; close it at the end of the block."""
        reader, writer = await asyncio.open_connection(sock=self._socket)
        self._transport = writer.transport
        if self._is_reset:
            self.reset()
        try:
            yield reader, writer
        except (OSError, h11.RemoteProtocolError):
            self.reset()
        finally:
            writer.close()
            await _closed(writer)

    def reset(self) -> None:
        """Send a reset to the other side; readers and writers on this side see the end of the connection."""
        self._is_reset = True
        with contextlib.suppress(OSError):  # the other side has already closed the connection
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if self._transport is not None:
            self._transport.abort()


class FaultProxy:
    """Passes requests on to one server; made by `fault_proxy`.

    Args:
        target: the server, such as `http://127.0.0.1:8080`.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._target_port = parts.hostname or "", parts.port or 80
        self._port = 0
        self._listener: socket.socket | None = None
        self._clients: dict[asyncio.Task[None], _Client] = {}
        self._faults: list[Fault] = []
        self._in_flight: set[Passed] = set()
        self.most_in_flight = 0
        """The largest number of requests in flight at the same time."""
        self.passed: list[Passed] = []

    @property
    def url(self) -> str:
        """The URL it listens on."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def is_listening(self) -> bool:
        """Whether it accepts new connections."""
        return self._listener is not None

    def add(self, fault: Fault) -> Fault:
        """Add a fault; faults apply in the order in which they were added."""
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def requests(self, method: str, path: str) -> list[Passed]:
        """Return the requests received so far that match the patterns, as in `Fault`."""
        return [
            passed for passed in self.passed if re.fullmatch(method, passed.method) and re.search(path, passed.path)
        ]

    async def accept(self) -> None:
        """Listen, on the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._listener.settimeout(0)
        self._port = self._listener.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._listener, self._welcome, self._listener)

    async def refuse(self) -> None:
        """Reset every connection and refuse new ones, like a killed server.

        Raises:
            Exception: an error in the proxy itself.
        """
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        self.cut()
        ended, self._clients = self._clients, {}
        await asyncio.gather(*ended)

    def cut(self) -> None:
        """Reset every connection, but accept new ones."""
        for client in self._clients.values():
            client.reset()

    def _welcome(self, listener: socket.socket) -> None:
        """Accept a connection; asyncio's servers lose one that arrives while they close."""
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):  # the client has already disconnected
            client = _Client(listener.accept()[0])
            self._clients[asyncio.create_task(self._serve(client))] = client

    async def _serve(self, client: _Client) -> None:
        async with client.streams() as (reader, writer):
            while (request := await _request(client.http, reader)) is not None:
                if not await self._answer_unless_gone(client, request, reader, writer):
                    break
                client.http.start_next_cycle()

    async def _answer_unless_gone(
        self,
        client: _Client,
        request: tuple[h11.Request, bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Answer one request, but stop if the client disconnects; return whether the connection stays open."""
        head, _ = request
        method, path = head.method.decode(), head.target.decode().partition("?")[0]
        passed = Passed(method, path, asyncio.get_running_loop().time(), self._fault_for(method, path))
        self.passed.append(passed)
        self._in_flight.add(passed)
        self.most_in_flight = max(self.most_in_flight, len(self._in_flight))
        answering = asyncio.ensure_future(self._answer(client, request, passed, writer))
        leaving = asyncio.ensure_future(self._left(client.http, reader, passed))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return answering.result() if answering.done() else False
        finally:
            self._in_flight.discard(passed)
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _left(self, http: h11.Connection, reader: asyncio.StreamReader, passed: Passed) -> None:
        """Wait until the client disconnects; a client may send its next request before this one is finished here."""
        try:
            while data := await reader.read(CHUNK):
                http.receive_data(data)
        except OSError:
            pass
        self._in_flight.discard(passed)

    async def _answer(
        self,
        client: _Client,
        request: tuple[h11.Request, bytes],
        passed: Passed,
        writer: asyncio.StreamWriter,
    ) -> bool:
        fault = passed.fault
        loss = fault.loss if fault else None
        if loss is Loss.SILENCE:
            await asyncio.Event().wait()
        if loss is Loss.REQUEST:
            return self._reset(client, passed)
        if fault and loss is Loss.REPLACED:
            return await self._send(client.http, writer, _replacement(fault), passed)
        async with _asked(self._host, self._target_port, *request) as answer:
            if not fault:
                return await self._send(client.http, writer, answer, passed)
            whole = b"".join([part async for part in answer.body])
            if loss is Loss.ANSWER:
                return self._reset(client, passed)
            if loss is Loss.HALF_THE_ANSWER:
                return await _send_half(client.http, writer, answer.head, whole)
            await asyncio.sleep(fault.seconds)
            if fault.released:
                await fault.released.wait()
            is_replaced = loss is Loss.REPLACED_AFTER_EFFECT
            later = _replacement(fault) if is_replaced else _Answer(answer.head, _once(whole))
            return await self._send(client.http, writer, later, passed)

    def _reset(self, client: _Client, passed: Passed) -> bool:
        self._in_flight.discard(passed)
        client.reset()
        return False

    async def _send(self, http: h11.Connection, writer: asyncio.StreamWriter, answer: _Answer, passed: Passed) -> bool:
        """Send an answer; return whether the connection stays open."""
        passed.status = answer.head.status_code
        headers = _end_to_end(answer.head.headers)
        head = h11.Response(status_code=answer.head.status_code, headers=headers, reason=answer.head.reason)
        writer.write(http.send(head) or b"")
        async for part in answer.body:
            writer.write(http.send(h11.Data(data=part)) or b"")
        writer.write(http.send(h11.EndOfMessage()) or b"")
        # Before the next await: the client may send its next request before this task runs again.
        self._in_flight.discard(passed)
        await writer.drain()
        return http.our_state is not h11.MUST_CLOSE

    def _fault_for(self, method: str, path: str) -> Fault | None:
        for fault in self._faults:
            if not fault.applies_to(method, path):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.times -= 1
            return fault
        return None


@asynccontextmanager
async def fault_proxy(target: str) -> AsyncIterator[FaultProxy]:
    """Run a proxy on a free port until the block ends."""
    proxy = FaultProxy(target)
    await proxy.accept()
    try:
        yield proxy
    finally:
        await proxy.refuse()


async def _request(connection: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Request, bytes] | None:
    """Read one request; None at the end of the connection."""
    head: h11.Request | None = None
    body = b""
    while True:
        event = await _next_event(connection, reader)
        if isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage) and head:
            return head, body
        else:
            return None


async def _next_event(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(CHUNK))
    return event


@asynccontextmanager
async def _asked(host: str, port: int, request: h11.Request, body: bytes) -> AsyncIterator[_Answer]:
    """Send a request on and read the head of its answer."""
    reader, writer = await asyncio.open_connection(host, port)
    connection = h11.Connection(h11.CLIENT)
    try:
        headers = [*_end_to_end(request.headers), (b"connection", b"close")]
        for event in (
            h11.Request(method=request.method, target=request.target, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            writer.write(connection.send(event) or b"")
        await writer.drain()
        head = await _next_event(connection, reader)
        if not isinstance(head, h11.Response):
            raise ConnectionResetError("the server gave no answer")
        yield _Answer(head, _body(connection, reader))
    finally:
        writer.transport.abort()
        await _closed(writer)


async def _body(connection: h11.Connection, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while isinstance(event := await _next_event(connection, reader), h11.Data):
        yield bytes(event.data)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _replacement(fault: Fault) -> _Answer:
    headers = {"content-type": "application/json", **fault.headers, "content-length": str(len(fault.body))}
    return _Answer(h11.Response(status_code=fault.status, headers=list(headers.items())), _once(fault.body))


async def _send_half(
    connection: h11.Connection, writer: asyncio.StreamWriter, head: h11.Response, whole: bytes
) -> bool:
    """Send half of an answer; the connection has to be closed afterwards."""
    framing = {b"content-length", b"transfer-encoding"}
    headers = [(name, value) for name, value in _end_to_end(head.headers) if name not in framing]
    length = (b"content-length", str(len(whole)).encode())
    writer.write(connection.send(h11.Response(status_code=head.status_code, headers=[*headers, length])) or b"")
    writer.write(connection.send(h11.Data(data=whole[: len(whole) // 2])) or b"")
    await writer.drain()
    return False


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [(name, value) for name, value in headers if name not in BY_HOP]


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Wait until a closing connection has released its socket."""
    with contextlib.suppress(OSError):  # the connection was lost before it was closed
        await writer.wait_closed()
