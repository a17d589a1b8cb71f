"""Servers that are started for a test: when they listen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

START_SECONDS = 10.0


@asynccontextmanager
async def listening(process: asyncio.subprocess.Process, port: int) -> AsyncIterator[None]:
    """Wait until a started server accepts connections; terminate it at the end."""
    try:
        await until_it_listens(process, port)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def until_it_listens(process: asyncio.subprocess.Process, port: int) -> None:
    """Wait until a started server accepts connections."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            assert process.returncode is None, "the server has ended; its log says why"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                await writer.wait_closed()
                return
