"""Callers of the SDK, over connections of their own."""

import asyncio
from collections.abc import Sequence
from itertools import cycle
from typing import Literal

from mcp import Client, MCPError
from mcp.shared.dispatcher import ProgressFnT
from mcp_types import CallToolResult

from tests.scale.deployment import WAIT_SECONDS

Mode = Literal["auto", "legacy"]
MODES: tuple[Mode, Mode] = ("auto", "legacy")
"""Both protocol eras, as the SDK's client calls them."""
MOST_LOST = 5
"""How often a persistent caller loses its connection before it gives up."""
PATIENCE_SECONDS = WAIT_SECONDS + 60.0


async def call(url: str, tool: str, x: int, mode: Mode, on_progress: ProgressFnT | None = None) -> CallToolResult:
    """Call a tool over a new connection."""
    async with asyncio.timeout(PATIENCE_SECONDS), Client(url, mode=mode) as client:
        await client.list_tools()  # as every agent does; otherwise the SDK's client does so after the answer
        return await client.call_tool(tool, {"x": x}, progress_callback=on_progress)


async def call_all(url: str, tool: str, numbers: Sequence[int]) -> list[CallToolResult]:
    """Make one call for each number, all at the same time, in both eras."""
    return await asyncio.gather(*(call(url, tool, x, mode) for x, mode in zip(numbers, cycle(MODES), strict=False)))


class PersistentCaller:
    """Makes a call, and makes it again when its connection breaks.

    Args:
        url: the server's URL.
        tool: the tool's name.
        x: the tool's argument.
        mode: the protocol era.
    """

    def __init__(self, url: str, tool: str, x: int, mode: Mode) -> None:
        self._made = (url, tool, x, mode)
        self.lost = 0
        """How many calls have not been answered."""

    async def answer(self) -> CallToolResult:
        """Return the first answer."""
        while True:
            try:
                return await call(*self._made)
            except (MCPError, ExceptionGroup):
                self.lost += 1
                if self.lost == MOST_LOST:
                    raise
