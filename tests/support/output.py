"""Reads the output of a process while it runs."""

import queue
import threading
import time
from collections.abc import Callable
from typing import IO, Self


class Output:
    """Reads a stream to its end in a thread, so that its process never blocks; a context manager.

    Args:
        stream: a pipe in text mode; the caller closes it afterwards.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        assert stream is not None
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self.said: list[str] = []
        """The lines that `until` and `rest` have read."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def until(
        self, is_it: Callable[[str], bool], *, seconds: float, on_line: Callable[[str], None] = lambda _: None
    ) -> str:
        """Wait for a line and return it.

        Raises:
            AssertionError: the stream ended or the time ran out first; the message contains all lines.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._next(max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not printed within {seconds:.0f} s, only:\n{''.join(self.said)}") from None
            if line is None:
                raise AssertionError(f"the output ended; it was:\n{''.join(self.said)}")
            self.said.append(line)
            on_line(line)
            if is_it(line):
                return line

    def rest(self) -> str:
        """Wait for the end of the stream; return everything that was printed."""
        while (line := self._next(None)) is not None:
            self.said.append(line)
        return "".join(self.said)

    def _next(self, seconds: float | None) -> str | None:
        """Return the next line; None at the end, also on later calls."""
        line = self._lines.get(timeout=seconds)
        if line is None:
            self._lines.put(None)
        return line

    def _read(self) -> None:
        for line in self._stream:
            self._lines.put(line)
        self._lines.put(None)
