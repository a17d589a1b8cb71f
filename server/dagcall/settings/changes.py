"""Two versions of the settings -> what changed, and what of it takes effect without a restart.

Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from dagcall.settings.settings import Settings

RELOADED = (
    "tools",
    "dags",
    "pins",
    "refresh_seconds",
    "auth.callers",
    "limits",
    "log.level",
)
"""The settings, and tables of settings, that take effect when they are reread."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The names of changed settings."""

    now: tuple[str, ...]
    """Those that take effect at once."""
    later: tuple[str, ...]
    """Those that take effect after a restart."""


def changes_between(old: Settings, new: Settings) -> Changes:
    """Return what changed."""
    changed = tuple(_changed(old, new, ""))
    now = tuple(name for name in changed if name in RELOADED or name.partition(".")[0] in RELOADED)
    return Changes(now, tuple(name for name in changed if name not in now))


def _changed(old: BaseModel, new: BaseModel, prefix: str) -> Iterator[str]:
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, BaseModel) and isinstance(after, BaseModel):
            yield from _changed(before, after, f"{prefix}{name}.")
        elif before != after:
            yield f"{prefix}{name}"
