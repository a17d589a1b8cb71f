"""The folder of pins, reread at each refresh, so that a rewritten pin takes effect without a restart."""

import logging
from pathlib import Path

from dagcall.errors import ConfigError
from dagcall.text import visible
from dagcall.tools.pins import Pins, pins_from_texts

logger = logging.getLogger(__name__)


class PinFolder:
    """A folder of pins.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last: Pins | None = None

    def read(self) -> Pins:
        """Return the pins in the folder; if the folder cannot be read, the pins read last.

        Raises:
            ConfigError: the folder was never readable.
        """
        try:
            paths = sorted(path for path in self.path.iterdir() if path.suffix == ".json")
        except OSError as error:
            if self._last is None:
                raise ConfigError(f"folder of pins not found: {self.path}; `dagcall pin` creates it") from error
            logger.warning(
                "the folder of pins %s cannot be read (%s); the last pins remain in effect", self.path, error.strerror
            )
            return self._last
        pins = pins_from_texts({path.stem: _text(path) for path in paths})
        for name in pins.broken.keys() - (self._last.broken.keys() if self._last else set()):
            logger.warning("the pin %s is unusable: %s", visible(str(self.path / name)), visible(pins.broken[name]))
        self._last = pins
        return pins

    def write(self, name: str, text: str) -> Path:
        """Pin a tool and return the file. The write is atomic: a running server reads the old or the new file.

        Raises:
            ConfigError: it cannot be written.
        """
        file, new = self.path / f"{name}.json", self.path / f".{name}.new"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            new.write_text(text, encoding="utf-8")
            new.replace(file)
        except OSError as error:
            raise ConfigError(f"the pin {file} cannot be written: {error.strerror}") from error
        return file

    def remove(self, name: str) -> Path:
        """Remove a pin and return its path.

        Raises:
            ConfigError: it cannot be removed.
        """
        file = self.path / f"{name}.json"
        try:
            file.unlink()
        except OSError as error:
            raise ConfigError(f"the pin {file} cannot be removed: {error.strerror}") from error
        return file


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
