"""Writes files without losing one: new files only where there is none, and a copy of each that is replaced."""

import os
import shutil
from pathlib import Path

from dagcall.errors import ConfigError


def write_new(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file that does not exist yet.

    Raises:
        ConfigError: it exists, or cannot be written.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists; move it away, or name another folder with --config") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def replace_keeping_copy(file: Path, text: str) -> Path | None:
    """Write a file, or replace it; return the copy of what it was."""
    path = file.resolve()  # it may be a link into a folder of dotfiles
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.dagcall-new")
    new.write_text(text, encoding="utf-8")
    backup = None
    if path.exists():
        backup = _free_name(path)
        shutil.copy2(path, backup)
        shutil.copymode(path, new)
    new.replace(path)  # at once: a client may read it at any moment
    return backup


def _free_name(path: Path) -> Path:
    """Return a name for a copy of a file that no other copy has."""
    names = (path.with_name(f"{path.name}.before-dagcall{f'-{number}' if number else ''}") for number in range(1000))
    return next(name for name in names if not name.exists())
