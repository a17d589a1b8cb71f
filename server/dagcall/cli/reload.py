"""Rereads the settings while dagcall serves: after SIGHUP, and when their file has changed.

A mistake leaves everything as it is. Calls in progress go on as they began.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dagcall.app import Dagcall
from dagcall.errors import ConfigError
from dagcall.loops import Loop
from dagcall.settings import Settings, changes_between
from dagcall.tools import Pins

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often the file is looked at. It is reread once it was the same twice: an editor may still be writing."""

ReadPins = Callable[[], Pins] | None
Stamp = tuple[int, int, int] | None


class Reloader:
    """Rereads the settings.

    Args:
        settings: those with which dagcall started.
        file: their file; None if they come from the environment alone.
        reread: returns the settings, and what reads the pins.
        on_settings: called with new settings, for what is not part of the server.
    """

    def __init__(
        self,
        settings: Settings,
        file: Path | None,
        *,
        reread: Callable[[], tuple[Settings, ReadPins]],
        on_settings: Callable[[Settings], None],
    ) -> None:
        self._settings = settings
        self._file = file
        self._reread = reread
        self._on_settings = on_settings
        self._read = self._seen = stamp_of(file)
        self.wanted = asyncio.Event()
        """Set to reread the settings, whether or not their file has changed."""

    async def run(self, dagcall: Dagcall) -> None:
        """Reread the settings whenever there is a reason, for ever."""

        async def turn() -> bool:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self.wanted.wait()
            if self.wanted.is_set() or self._has_new_file():
                self.wanted.clear()
                self._read = self._seen = stamp_of(self._file)
                await self._reload(dagcall)
            return True

        await Loop("the reload of the settings").run(turn)

    def _has_new_file(self) -> bool:
        """Return whether the file has changed since it was read, and is the same as at the last look."""
        before, self._seen = self._seen, stamp_of(self._file)
        return self._seen == before != self._read

    async def _reload(self, dagcall: Dagcall) -> None:
        try:
            settings, read_pins = self._reread()
        except ConfigError as error:
            logger.error("the settings were not reloaded, and the old ones stay: %s", error)  # noqa: TRY400 - says all
            return
        changes = changes_between(self._settings, settings)
        if changes.later:
            logger.warning("changed, but only a restart applies it: %s", ", ".join(changes.later))
        await dagcall.apply(settings, read_pins)
        self._on_settings(settings)
        self._settings = settings
        logger.info("the settings were reloaded; changed: %s", ", ".join(changes.now) or "nothing that applies now")


class Terminal:
    """The terminal that dagcall was started in, if any. Its end sends SIGHUP, too, and must then stop dagcall."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup asks
            with suppress(OSError):
                self._descriptor = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)

    @property
    def is_gone(self) -> bool:
        """Whether there was one, and it was closed."""
        if self._descriptor is None:
            return False
        try:
            os.tcgetpgrp(self._descriptor)
        except OSError:
            return True
        return False


def stamp_of(file: Path | None) -> Stamp:
    """Return a value that changes when the file is written or replaced; None if it is missing."""
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
