"""A raw call on its own connection, which the caller can close at any moment."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.support.serving_process import MODERN, headers, request

RESET = struct.pack("ii", 1, 0)


class RawCall:
    """A sent call whose answer is not read. Made by `raw_call`.

    Args:
        connection: the socket on which it was sent.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def hang_up(self) -> None:
        """Close the connection after all data was sent."""
        self._connection.close()

    def reset(self) -> None:
        """Reset the connection, as the kernel does for a killed client."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._connection.close()


@asynccontextmanager
async def raw_call(url: str, tool: str, x: int, meta: Mapping[str, object] | None = None) -> AsyncIterator[RawCall]:
    """Send a call; the connection is closed at the end of the block at the latest. A stopped server reads it later."""
    parts = urlsplit(url)
    message = request(MODERN, 1, "tools/call", {"name": tool, "arguments": {"x": x}})
    message["params"]["_meta"] |= meta or {}
    body = json.dumps(message).encode()
    lines = {
        "Host": parts.netloc,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **headers(MODERN, message),
    }
    head = f"POST {parts.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.settimeout(0)
        await loop.sock_connect(connection, (parts.hostname, parts.port))
        await loop.sock_sendall(connection, head.encode() + b"\r\n" + body)
        yield RawCall(connection)
