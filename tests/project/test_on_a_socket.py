"""The servers that tests start in a thread start at once and end cleanly."""

import asyncio
import contextlib
import gc
import socket
from typing import Any

import httpx

from tests.support.authorization_server import served as served_authority
from tests.support.on_a_socket import on_a_socket, prompt_server

STEPS = range(12)
"""After how many loop iterations a server ends; more iterations than from a connection to its request."""
ANSWER = b"HTTP/1.1 204"


async def empty(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


def test_server_answers_an_immediate_request() -> None:
    with on_a_socket(empty) as url, contextlib.closing(connected(int(url.rpartition(":")[2]))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: it\r\n\r\n")
        assert client.recv(len(ANSWER)) == ANSWER


def test_server_can_end_before_it_runs() -> None:
    with on_a_socket(empty):
        pass
    with served_authority():
        pass


def test_authorization_server_knows_its_url() -> None:
    with served_authority() as authority:
        found = httpx.get(f"{authority.issuer}/.well-known/openid-configuration", trust_env=False).json()
    assert found == {"issuer": authority.issuer, "jwks_uri": f"{authority.issuer}/keys"}


async def test_new_connection_is_closed_while_the_server_ends() -> None:
    for steps in STEPS:
        server, listener = prompt_server(empty)
        serving = asyncio.create_task(server.serve([listener]))
        while not server.started:  # noqa: ASYNC110 - the server has no event for this
            await asyncio.sleep(0)
        client = connected(listener.getsockname()[1])
        for _ in range(steps):
            await asyncio.sleep(0)

        server.ending.set_result(None)

        await serving
        listener.close()
        with client, contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(client.recv, 1) == b""
    gc.collect()  # a leaked connection would warn now, and warnings are errors


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)
