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
"""Loop iterations from an accepted connection to one that uvicorn knows."""


class PromptServer(uvicorn.Server):
    """uvicorn that ends at once when told to; by default it polls ten times a second and waits for connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ending = concurrent.futures.Future[None]()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await asyncio.wrap_future(self.ending)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A closing asyncio server loses a connection that it is accepting, and warns about it later.
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
    """Return a server that is not running yet, and its socket, which already accepts connections."""
    config = uvicorn.Config(app, log_level="critical", lifespan="off", loop="asyncio", http="h11", **tls)
    config.load()  # reports errors here instead of in a thread
    listener = socket.create_server(("127.0.0.1", port))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio sets this only for its own sockets
    return PromptServer(config), listener


@contextmanager
def on_a_socket(app: Any, port: int = 0, **tls: Any) -> Iterator[str]:
    """Serve in a thread on a port of the loopback interface (0: any free one); yield the URL.

    `tls` contains uvicorn's TLS options, such as `ssl_certfile`.
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
