"""An ASGI application behind a real socket, for tests that start a process."""

import asyncio
import concurrent.futures
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

TURNS = 3
"""Of the loop, from a connection that was accepted to one that uvicorn knows."""


class PromptServer(uvicorn.Server):
    """uvicorn, told when to end; by itself it looks ten times a second, and again for whoever is still connected."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ending = concurrent.futures.Future[None]()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await asyncio.wrap_future(self.ending)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A server of asyncio's that closes loses a connection that it is accepting, and warns of it later.
        for listener in sockets or []:
            asyncio.get_running_loop().remove_reader(listener)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        answering = tuple(self.server_state.tasks)
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)


def prompt_server(app: Any, port: int = 0, **tls: Any) -> tuple[PromptServer, socket.socket]:
    """Return a server that is not running yet, and its socket, at which connections are welcome already."""
    config = uvicorn.Config(app, log_level="critical", lifespan="off", loop="asyncio", http="h11", **tls)
    config.load()  # what is wrong with it is said here, and not in a thread
    listener = socket.create_server(("127.0.0.1", port))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio does so only for sockets of its own
    return PromptServer(config), listener


@contextmanager
def on_a_socket(app: Any, port: int = 0, **tls: Any) -> Iterator[str]:
    """Serve on a port of loopback, any free one with 0, in a thread, and give the address.

    `tls` is what uvicorn takes: `ssl_certfile` and its kin.
    """
    server, listener = prompt_server(app, port, **tls)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.ending.set_result(None)
        thread.join()
        listener.close()
