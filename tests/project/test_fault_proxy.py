"""The proxy of the fault tests, in front of a server whose answers a test releases."""

import asyncio
import contextlib
import gc
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.faults.fault_proxy import Fault, FaultProxy, Loss, fault_proxy

SECONDS = 30.0
"""Longer than any answer takes, so that a hanging test fails."""
STEPS = range(12)
"""After how many loop iterations the next event happens; more iterations than a whole connection takes."""


class Target:
    """A server that answers one request per connection, once `may_answer` is set."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.may_answer = asyncio.Event()
        self.has_request = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            self.has_request.set()
            await self.may_answer.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
        writer.close()


@pytest.fixture
async def unhandled() -> AsyncIterator[None]:
    """Check that no task fails unhandled; asyncio would only log the traceback."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: found.append(context))
    yield
    await turns(10)
    gc.collect()
    assert found == []


@pytest.fixture
async def target(unhandled: None) -> AsyncIterator[tuple[Target, str]]:  # noqa: ARG001 - it ends after this one
    it = Target()
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    yield it, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    it.may_answer.set()
    server.close()
    await turns(10)


@pytest.fixture
async def proxy(target: tuple[Target, str]) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(target[1]) as running:
        yield running


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def until(look: Callable[[], bool]) -> None:
    """Check the condition in each loop iteration; with any other wait it would be too late."""
    while not look():  # noqa: ASYNC110 - see above
        await asyncio.sleep(0)


def connected(proxy: FaultProxy) -> socket.socket:
    """Connect as a client does; the proxy has not accepted the connection when this returns."""
    client = socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])))
    client.settimeout(0)
    return client


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: airflow\r\n\r\n".encode()


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


async def received(client: socket.socket) -> bytes:
    async with asyncio.timeout(SECONDS):
        return await asyncio.get_running_loop().sock_recv(client, 65536)


async def whole(client: socket.socket, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        part = await received(client)
        assert part, found
        found += part
    return found


@asynccontextmanager
async def waiting(proxy: FaultProxy, target: Target) -> AsyncIterator[socket.socket]:
    """Make a request that the target has received but not answered."""
    with connected(proxy) as client:
        target.has_request.clear()
        client.sendall(request("/held"))
        await target.has_request.wait()
        yield client


async def test_client_can_reset_its_connection_while_the_proxy_ends(target: tuple[Target, str]) -> None:
    server, url = target
    for steps in STEPS:
        async with fault_proxy(url) as proxy:
            async with waiting(proxy, server) as client:
                reset(client)
            await turns(steps)


async def test_connection_can_be_cut_at_any_moment(target: tuple[Target, str]) -> None:
    server, url = target
    server.may_answer.set()
    for steps in STEPS:
        async with fault_proxy(url) as proxy:
            with connected(proxy) as client:
                client.sendall(request("/any"))
                await turns(steps)

                proxy.cut()
                proxy.cut()


async def test_cut_connection_is_reset(proxy: FaultProxy, target: tuple[Target, str]) -> None:
    async with waiting(proxy, target[0]) as client:
        proxy.cut()

        with pytest.raises(ConnectionResetError):
            await received(client)


async def test_new_connection_is_reset_while_the_proxy_ends(target: tuple[Target, str]) -> None:
    for steps in STEPS:
        async with fault_proxy(target[1]) as proxy:
            client = connected(proxy)
            await turns(steps)
        with client, pytest.raises(ConnectionResetError):
            await received(client)


async def test_connection_of_a_lost_request_can_be_cut(target: tuple[Target, str]) -> None:
    for steps in STEPS:
        async with fault_proxy(target[1]) as proxy:
            proxy.add(Fault(loss=Loss.REQUEST))
            with connected(proxy) as client:
                client.sendall(request("/lost"))
                await until(lambda: bool(proxy.passed))
                await turns(steps)

                proxy.cut()

                with pytest.raises(ConnectionResetError):
                    await received(client)


async def test_proxy_can_accept_again_on_the_same_port(proxy: FaultProxy, target: tuple[Target, str]) -> None:
    target[0].may_answer.set()
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)

    await proxy.accept()

    with connected(proxy) as client:
        client.sendall(request("/again"))
        assert (await whole(client, b"ok")).startswith(b"HTTP/1.1 200")


async def test_request_sent_before_the_last_one_is_finished_is_not_lost(
    proxy: FaultProxy, target: tuple[Target, str]
) -> None:
    """A client may receive its answer and send the next request before the proxy has finished the first."""
    server, _ = target
    async with waiting(proxy, server) as client:
        client.sendall(request("/next"))
        await turns(10)

        server.may_answer.set()

        await whole(client, b"ok")
        await whole(client, b"ok")
    assert [asked.split(b" HTTP")[0] for asked in server.requests] == [b"GET /held", b"GET /next"]
    assert [passed.path for passed in proxy.passed] == ["/held", "/next"]


async def test_answered_request_is_no_longer_in_flight(proxy: FaultProxy, target: tuple[Target, str]) -> None:
    target[0].may_answer.set()
    with connected(proxy) as first, connected(proxy) as second:
        first.sendall(request("/first"))
        second.sendall(b"GET /second HTTP/1.1\r\nHost: airflow\r\n")
        await until(lambda: has_come(first))
        second.sendall(b"\r\n")
        await whole(second, b"ok")

    assert proxy.most_in_flight == 1


def has_come(client: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        return bool(client.recv(1, socket.MSG_PEEK))
    return False


async def test_fault_can_skip_requests(proxy: FaultProxy, target: tuple[Target, str]) -> None:
    target[0].may_answer.set()
    proxy.add(Fault(loss=Loss.REPLACED, status=503, path="/any", skip=2))
    statuses: list[bytes] = []
    with connected(proxy) as client:
        for path in ("/any", "/other", "/any", "/any", "/any"):
            client.sendall(request(path))
            statuses.append((await whole(client, b"ok" if len(statuses) != 3 else b"}"))[9:12])

    assert statuses == [b"200", b"200", b"200", b"503", b"200"]
