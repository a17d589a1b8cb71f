"""One of the dagcalls: a process that can be killed and is started again on its port."""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.support.serving_process import HttpServer, http_server


class Replica:
    """A `dagcall serve` on a port of its own.

    Args:
        environ: its environment, with its settings.
        port: its port.
        log: the file for its stderr, written when it ends.
    """

    def __init__(self, environ: Mapping[str, str], port: int, log: Path) -> None:
        self.port = port
        self.log = log
        self._environ = environ
        self._running = ExitStack()
        self._server: HttpServer | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its own URL, not that of the proxy."""
        return f"http://{self.address}/mcp"

    async def start(self) -> None:
        """Start it; return when it serves."""
        serving = http_server(self._environ, port=self.port)
        self._server = await asyncio.to_thread(self._running.enter_context, serving)

    async def kill(self) -> None:
        """Kill it, as the kernel does when memory is short."""
        assert self._server is not None
        self._server.process.kill()
        _, said = await asyncio.to_thread(self._server.ended)
        with self.log.open("a") as log:
            log.write(said)
        self._server = None
        self._running.close()

    async def stop(self) -> None:
        """Kill it if it runs: what it answers when asked to stop is not of interest here."""
        if self._server is not None:
            await self.kill()
