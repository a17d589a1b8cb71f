"""The folder of pins, read anew at each refresh: what was reviewed takes effect without a restart."""

import logging
from pathlib import Path

from dagcall.errors import ConfigError
from dagcall.text import visible
from dagcall.tools.pins import Pins, pins_from_texts

logger = logging.getLogger(__name__)


class PinFolder:
    """A folder of pins.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last: Pins | None = None

    def read(self) -> Pins:
        """Return what the folder holds now; where the folder itself cannot be read, what it held the last time.

        Raises:
            ConfigError: it has never been there.
        """
        try:
            paths = sorted(path for path in self.path.iterdir() if path.suffix == ".json")
        except OSError as error:
            if self._last is None:
                raise ConfigError(f"there is no folder of pins {self.path}; `dagcall pin` makes it") from error
            logger.warning(
                "the folder of pins %s cannot be read (%s); what it last held stays", self.path, error.strerror
            )
            return self._last
        pins = pins_from_texts({path.stem: _text(path) for path in paths})
        for name in pins.broken.keys() - (self._last.broken.keys() if self._last else set()):
            logger.warning("the pin %s is of no use: %s", visible(str(self.path / name)), visible(pins.broken[name]))
        self._last = pins
        return pins

    def write(self, name: str, text: str) -> Path:
        """Pin a tool and return the file. A server that reads the folder meanwhile finds the old one or the new one.

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
        """Remove a pin and return where it was.

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
