"""Servers that are started for a test: when they listen."""

import asyncio

START_SECONDS = 10.0


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
