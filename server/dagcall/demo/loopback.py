"""Short requests to the demo's servers on this machine, never through a proxy, used only while they start."""

import asyncio
import contextlib
import http.client
import json
import socket
from typing import Any

HOST = "127.0.0.1"
TIMEOUT_SECONDS = 10.0


class NotYet(Exception):  # a state of the start, not an error
    """The server has not started yet."""


def request(port: int, method: str, path: str, *, body: Any = None, token: str | None = None) -> Any:
    """Return the JSON answer of a server on this machine; None if the answer is not JSON.

    Raises:
        NotYet: no answer, or a status of 400 or above.
    """
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise NotYet(str(error)) from error
    finally:
        connection.close()
    if answer.status >= http.HTTPStatus.BAD_REQUEST:
        raise NotYet(f"{method} {path}: {answer.status}")
    try:
        return json.loads(content)
    except ValueError:
        return None


async def fetch(port: int, method: str, path: str, *, body: Any = None, token: str | None = None) -> Any:
    """Like `request`, without blocking the event loop."""
    return await asyncio.to_thread(request, port, method, path, body=body, token=token)


def is_busy(port: int) -> bool:
    """Return whether this port of the loopback interface is in use or cannot be bound."""
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((HOST, port)) == 0:
            return True
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return False
    return True
