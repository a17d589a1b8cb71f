"""stdin as a stream that we can end, and stdout as a stream that reports written answers.

A blocking read or write cannot be cancelled: a server would never stop while its client keeps stdin open, or does not
read its stdout. So daemon threads do both. stdin is passed on through a socket, whose other end we can close. This
works for pipes, terminals and files; asyncio's own pipes do not.

stdout is reserved for the protocol: everything else that is printed goes to stderr.
"""

import asyncio
import json
import logging
import os
import queue
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

from mcp_types import RequestId

from dagcall.mcp import escaped

logger = logging.getLogger(__name__)

CHUNK_BYTES = 65_536
_ANSWER = re.compile(r'\{"jsonrpc":"2\.0","id":(?P<id>-?\d+|"(?:[^"\\]|\\.)*"),"result":')
"""The start of an SDK answer that may contain an outcome. Other messages count as never written, to be safe."""


@contextmanager
def endable_stdin() -> Iterator[tuple[IO[str], Callable[[], None]]]:
    """Yield stdin as text, and a function that ends it."""
    ours, theirs = socket.socketpair()

    def end() -> None:
        with suppress(OSError):  # already ended
            ours.shutdown(socket.SHUT_WR)

    def pass_on() -> None:
        with suppress(OSError):  # ended during a write
            while chunk := os.read(0, CHUNK_BYTES):
                ours.sendall(chunk)
        end()

    threading.Thread(target=pass_on, name="stdin", daemon=True).start()
    with theirs, theirs.makefile("r", encoding="utf-8", errors="replace") as text:
        try:
            yield text, end
        finally:
            end()


class AnswersOut:
    """stdout, reporting written answers. Has the file methods that the SDK uses.

    Args:
        descriptor: where to write. It must stay open until the process ends: a write may never return.
        on_written: called with the id of the request whose answer was written.
        on_gone: called when the client has stopped reading.
    """

    def __init__(
        self, descriptor: int, *, on_written: Callable[[RequestId], None], on_gone: Callable[[], None]
    ) -> None:
        self._descriptor = descriptor
        self._on_written = on_written
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self.idle = asyncio.Event()
        """Set while no write is in progress."""
        self.idle.set()
        self._messages = queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]]()
        threading.Thread(target=self._write_all, name="stdout", daemon=True).start()

    async def write(self, text: str) -> int:
        """Write one message, and report it as written."""
        written = self._loop.create_future()
        self.idle.clear()
        self._messages.put((escaped(text).encode(), written))
        try:
            await written
        except OSError as error:
            logger.info("the client has stopped reading: %s", error.strerror)
            self._on_gone()
        else:
            if answer := _ANSWER.match(text):
                self._on_written(json.loads(answer["id"]))
        finally:
            self.idle.set()
        return len(text)

    async def flush(self) -> None:
        """Do nothing: writes are unbuffered."""

    def _write_all(self) -> None:
        while True:
            message, written = self._messages.get()
            failure: OSError | None = None
            try:
                while message:
                    message = message[os.write(self._descriptor, message) :]
            except OSError as error:
                failure = error
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(_settle, written, failure)


def _settle(written: asyncio.Future[None], failure: OSError | None) -> None:
    if written.done():  # cancelled
        return
    if failure is None:
        written.set_result(None)
    else:
        written.set_exception(failure)


@contextmanager
def own_stdout() -> Iterator[int]:
    """Yield a descriptor of stdout; during the block, everything else that prints to stdout goes to stderr.

    The descriptor stays open, because a write may still be in progress.
    """
    sys.stdout.flush()
    wire = os.dup(1)
    os.dup2(2, 1)
    try:
        yield wire
    finally:
        sys.stdout.flush()  # output buffered meanwhile
        os.dup2(wire, 1)
