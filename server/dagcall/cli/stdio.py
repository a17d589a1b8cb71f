"""stdin as a stream that we can end, and stdout as one that says which answers were written.

A read or a write cannot be called off: a server that is asked to stop would hang for ever while its client keeps stdin
open, or does not read its stdout. So threads of ours, which nobody waits for, do both. What comes from stdin passes on
through a socket, and we end what comes out there. Works for pipes, terminals and files, which asyncio's own pipes do
not.

stdout belongs to the protocol: what anything else prints goes to stderr.
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
"""How the SDK begins an answer that may carry an outcome. What is not recognised counts as never written, which is the
safe side."""


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


class AnswersOut:
    """stdout, telling which answers were written. Has what the SDK uses of a file.

    Args:
        descriptor: where to write. It has to stay open until the process ends: a write may never come to an end.
        on_written: given the id of the request whose answer was written.
        on_gone: called when the client reads no more.
    """

    def __init__(
        self, descriptor: int, *, on_written: Callable[[RequestId], None], on_gone: Callable[[], None]
    ) -> None:
        self._descriptor = descriptor
        self._on_written = on_written
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self.idle = asyncio.Event()
        """Set while nothing is being written."""
        self.idle.set()
        self._messages = queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]]()
        threading.Thread(target=self._write_all, name="stdout", daemon=True).start()

    async def write(self, text: str) -> int:
        """Write one message, and tell that it was written."""
        written = self._loop.create_future()
        self.idle.clear()
        self._messages.put((escaped(text).encode(), written))
        try:
            await written
        except OSError as error:
            logger.info("the client reads no more: %s", error.strerror)
            self._on_gone()
        else:
            if answer := _ANSWER.match(text):
                self._on_written(json.loads(answer["id"]))
        finally:
            self.idle.set()
        return len(text)

    async def flush(self) -> None:
        """Do nothing: what was written has left."""

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
    if written.done():  # nobody waits for it any more
        return
    if failure is None:
        written.set_result(None)
    else:
        written.set_exception(failure)


@contextmanager
def own_stdout() -> Iterator[int]:
    """Return a descriptor that leads to stdout, which meanwhile is stderr to everything else.

    The descriptor stays open: a write to it may still go on.
    """
    sys.stdout.flush()
    wire = os.dup(1)
    os.dup2(2, 1)
    try:
        yield wire
    finally:
        sys.stdout.flush()  # what was printed meanwhile, and kept back
        os.dup2(wire, 1)
