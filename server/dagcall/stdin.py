"""stdin as a stream that we can end, too.

Whoever reads stdin reads in a thread, and a read cannot be called off: a server that is asked to stop while its client
keeps stdin open would hang for ever. So a thread of ours, which nobody waits for, passes stdin on through a socket, and
we end what comes out there. Works for pipes, terminals and files, which asyncio's own pipes do not.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

CHUNK_BYTES = 65_536


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
