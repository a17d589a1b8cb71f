"""stdin as a stream that we can end, and stdout as one that says which answers were written.

Whoever reads stdin reads in a thread, and a read cannot be called off: a server that is asked to stop while its client
keeps stdin open would hang for ever. So a thread of ours, which nobody waits for, passes stdin on through a socket, and
we end what comes out there. Works for pipes, terminals and files, which asyncio's own pipes do not.

stdout belongs to the protocol: what anything else prints goes to stderr.
"""

import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

import anyio
from mcp_types import RequestId

from dagcall.line_ends import escaped

CHUNK_BYTES = 65_536
_ANSWER = re.compile(r'\{"jsonrpc":"2\.0","id":(?P<id>-?\d+|"(?:[^"\\]|\\.)*"),"(?:result|error)":')
"""How the SDK begins an answer. What is not recognised counts as never written, which is the safe side."""


@contextmanager
def endable_stdin() -> Iterator[tuple[IO[str], Callable[[], None]]]:
    """Return stdin's text, and what ends it."""
    ours, theirs = socket.socketpair()

    def end() -> None:
        with suppress(OSError):  # it has ended already
            ours.shutdown(socket.SHUT_WR)

    def pass_on() -> None:
        with suppress(OSError):  # ended while we were writing
            while chunk := os.read(0, CHUNK_BYTES):
                ours.sendall(chunk)
        end()

    threading.Thread(target=pass_on, name="stdin", daemon=True).start()
    with theirs, theirs.makefile("r", encoding="utf-8", errors="replace") as text:
        try:
            yield text, end
        finally:
            end()


class AnswersOut(anyio.AsyncFile[str]):
    """stdout, telling which answers were written.

    Args:
        file: where to write.
        on_written: given the id of the request whose answer was written and flushed.
    """

    def __init__(self, file: IO[str], on_written: Callable[[RequestId], None]) -> None:
        super().__init__(file)
        self._on_written = on_written
        self._request_id: RequestId | None = None

    async def write(self, text: str) -> int:
        """Write one message; the SDK flushes it before it writes another one."""
        answer = _ANSWER.match(text)
        self._request_id = json.loads(answer["id"]) if answer else None
        return await super().write(escaped(text))

    async def flush(self) -> None:
        """Flush the message, and tell that it was written."""
        await super().flush()
        if self._request_id is not None:
            self._on_written(self._request_id)


@contextmanager
def own_stdout() -> Iterator[IO[str]]:
    """Return what leads to stdout, which meanwhile is stderr to everything else."""
    wire = os.dup(1)
    os.dup2(2, 1)
    try:
        with open(wire, "w", encoding="utf-8", closefd=False) as text:
            yield text
    finally:
        os.dup2(wire, 1)
        os.close(wire)
