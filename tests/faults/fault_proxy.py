"""A proxy between dagcall and Airflow that loses, cuts, delays and replaces requests and answers.

HTTP/1.1 over TCP, one request of a connection at a time, as httpx sends them. Answers are passed on as they come, so
that streams stay streams.
"""

import asyncio
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
"""SO_LINGER on, for 0 seconds: closing then sends a reset, and what was not sent yet is lost."""
BY_HOP = {b"connection", b"keep-alive"}

Headers = list[tuple[bytes, bytes]]


class Loss(Enum):
    """What becomes of a request and its answer."""

    REQUEST = "the request never reaches Airflow, and the connection is reset"
    ANSWER = "Airflow answers, and the connection is reset before a byte of that has passed"
    HALF_THE_ANSWER = "the connection ends in the middle of the answer's body"
    SILENCE = "the request never reaches Airflow, and nobody ever answers"
    DELAY = "Airflow's answer passes after `seconds`"
    REPLACED = "the request never reaches Airflow; `status`, `headers` and `body` are answered"
    REPLACED_AFTER_EFFECT = "Airflow answers, and `status`, `headers` and `body` take its answer's place"


@dataclass(eq=False, kw_only=True)
class Fault:
    """What happens to the next `times` requests of a kind."""

    loss: Loss
    method: str = "GET|POST|PATCH|DELETE"
    """A pattern for the whole of it."""
    path: str = ""
    """A pattern for any part of it, without the query."""
    times: int = 1
    seconds: float = 0.0
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"detail": "a fault on purpose"}'

    def applies_to(self, method: str, path: str) -> bool:
        """Say whether it is meant for this request."""
        return self.times > 0 and bool(re.fullmatch(self.method, method)) and bool(re.search(self.path, path))


@dataclass(eq=False)
class Passed:
    """One request as it came."""

    method: str
    path: str
    at: float
    """When, by the loop's clock."""
    fault: Fault | None
    status: int | None = None
    """What was answered; None as long as nothing was."""


@dataclass
class _Answer:
    head: h11.Response
    body: AsyncIterator[bytes]


class FaultProxy:
    """Passes requests on to one server; made by `fault_proxy`.

    Args:
        target: the server, such as `http://127.0.0.1:8080`.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._target_port = parts.hostname or "", parts.port or 80
        self._port = 0
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._faults: list[Fault] = []
        self._in_flight = 0
        self.most_in_flight = 0
        """Requests being answered at the same time."""
        self.passed: list[Passed] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    def add(self, fault: Fault) -> Fault:
        """Have something go wrong; the faults that were added first come first."""
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Have nothing go wrong any more."""
        self._faults.clear()

    def requests(self, method: str, path: str) -> list[Passed]:
        """Return what came so far, by patterns as in `Fault`."""
        return [
            passed for passed in self.passed if re.fullmatch(method, passed.method) and re.search(path, passed.path)
        ]

    async def accept(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Reset every connection and refuse new ones, like a server that was killed."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection; new ones are welcome."""
        for task, writer in self._connections.items():
            _reset(writer)
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections[task] = writer
        connection = h11.Connection(h11.SERVER)
        try:
            while (request := await _request(connection, reader)) is not None:
                if not await self._answer_unless_gone(connection, request, reader, writer):
                    break
                connection.start_next_cycle()
        except (OSError, h11.RemoteProtocolError, asyncio.CancelledError):
            _reset(writer)
        finally:
            del self._connections[task]
            writer.close()

    async def _answer_unless_gone(
        self,
        connection: h11.Connection,
        request: tuple[h11.Request, bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Answer one request, but stop when its sender leaves; say whether the connection lives on."""
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        answering = asyncio.ensure_future(self._answer(connection, *request, writer))
        leaving = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return answering.result() if answering.done() else False
        finally:
            self._in_flight -= 1
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _answer(
        self, connection: h11.Connection, request: h11.Request, body: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        method, path = request.method.decode(), request.target.decode().partition("?")[0]
        fault = self._fault_for(method, path)
        passed = Passed(method, path, asyncio.get_running_loop().time(), fault)
        self.passed.append(passed)
        loss = fault.loss if fault else None
        if loss is Loss.SILENCE:
            await asyncio.Event().wait()
        if loss is Loss.REQUEST:
            _reset(writer)
            return False
        if fault and loss is Loss.REPLACED:
            await _send(connection, writer, _replacement(fault), passed)
            return connection.our_state is not h11.MUST_CLOSE
        async with _asked(self._host, self._target_port, request, body) as answer:
            if fault:
                whole = b"".join([part async for part in answer.body])
                if loss is Loss.ANSWER:
                    _reset(writer)
                    return False
                if loss is Loss.HALF_THE_ANSWER:
                    await _send_half(connection, writer, answer.head, whole)
                    return False
                await asyncio.sleep(fault.seconds)
                is_replaced = loss is Loss.REPLACED_AFTER_EFFECT
                later = _replacement(fault) if is_replaced else _Answer(answer.head, _once(whole))
                await _send(connection, writer, later, passed)
            else:
                await _send(connection, writer, answer, passed)
        return connection.our_state is not h11.MUST_CLOSE

    def _fault_for(self, method: str, path: str) -> Fault | None:
        for fault in self._faults:
            if fault.applies_to(method, path):
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
    """Read one request; None when there is no other."""
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
        writer.close()


async def _body(connection: h11.Connection, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while isinstance(event := await _next_event(connection, reader), h11.Data):
        yield bytes(event.data)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _replacement(fault: Fault) -> _Answer:
    headers = {"content-type": "application/json", **fault.headers, "content-length": str(len(fault.body))}
    return _Answer(h11.Response(status_code=fault.status, headers=list(headers.items())), _once(fault.body))


async def _send(connection: h11.Connection, writer: asyncio.StreamWriter, answer: _Answer, passed: Passed) -> None:
    passed.status = answer.head.status_code
    headers = _end_to_end(answer.head.headers)
    head = h11.Response(status_code=answer.head.status_code, headers=headers, reason=answer.head.reason)
    writer.write(connection.send(head) or b"")
    async for part in answer.body:
        writer.write(connection.send(h11.Data(data=part)) or b"")
        await writer.drain()
    writer.write(connection.send(h11.EndOfMessage()) or b"")
    await writer.drain()


async def _send_half(
    connection: h11.Connection, writer: asyncio.StreamWriter, head: h11.Response, whole: bytes
) -> None:
    framing = {b"content-length", b"transfer-encoding"}
    headers = [(name, value) for name, value in _end_to_end(head.headers) if name not in framing]
    length = (b"content-length", str(len(whole)).encode())
    writer.write(connection.send(h11.Response(status_code=head.status_code, headers=[*headers, length])) or b"")
    writer.write(connection.send(h11.Data(data=whole[: len(whole) // 2])) or b"")
    await writer.drain()


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [(name, value) for name, value in headers if name not in BY_HOP]


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
