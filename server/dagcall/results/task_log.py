"""The log of a task -> what the task itself wrote.

Pure. Airflow's own bookkeeping is left out, and so is what only colours a terminal or is not to be seen at all.
"""

import re
from collections.abc import Sequence

from dagcall.airflow import LogEvent
from dagcall.masking import Masker
from dagcall.text import shortened, visible

MAX_LINE_CHARACTERS = 300
WINDOW_EVENTS = 200
WINDOW_CHARACTERS = 50_000
"""So much of the end of a log is masked before its last lines are taken, for a private key has many lines."""
MIN_ROOM_CHARACTERS = 10_000
"""An event is cut only where that is far from what is shown: half a secret has no shape and no known value."""

STOPPED_FROM_OUTSIDE = "Server indicated the task shouldn't be running anymore"
"""What Airflow writes into the log of a task whose state somebody changed while it ran (3.1 to 3.3)."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")


def last_lines(events: Sequence[LogEvent], count: int, characters: int, masker: Masker) -> list[str]:
    """Return the last lines of what the task itself wrote, within a number of lines and of characters."""
    if count == 0:
        return []
    texts: list[str] = []
    room = WINDOW_CHARACTERS
    for event in reversed(own_events(events)[-WINDOW_EVENTS:]):
        text = _both_halves(_event_text(event), room)
        texts.insert(0, plain(text))
        room -= len(text)
        if room < MIN_ROOM_CHARACTERS:
            break
    lines = [line for text in masker.masked("\n".join(texts)).split("\n") if (line := text.rstrip())]
    shown: list[str] = []
    for line in reversed(lines[-count:]):
        line = shortened(line, MAX_LINE_CHARACTERS)  # noqa: PLW2901 - the same line
        characters -= len(line)
        if characters < 0:
            break
        shown.insert(0, line)
    return shown


def own_events(events: Sequence[LogEvent]) -> list[LogEvent]:
    """Return the events that are no bookkeeping of Airflow's.

    Airflow's groups (`Pre Execute`, …) cannot be left out whole: what a task prints comes through a pipe, and may
    arrive within the next group.
    """
    return [event for event in written_events(events) if not _is_bookkeeping(event)]


def written_events(events: Sequence[LogEvent]) -> list[LogEvent]:
    """Return the events without the group in front, which names the log's sources, and without marks of groups."""
    written: list[LogEvent] = []
    is_of_sources = False
    for event in events:
        if event.event.startswith("::group::Log message source"):
            is_of_sources = True
        elif event.event.startswith(("::group::", "::endgroup::")):
            is_of_sources = False
        elif not is_of_sources:
            written.append(event)
    return written


def _is_bookkeeping(event: LogEvent) -> bool:
    logger = event.logger or ""
    if logger == "task" and (event.exceptions or event.signal is not None or event.exit_code is not None):
        return True  # told as the reason
    is_airflows = logger == "task" or (
        logger.startswith("airflow.") and not logger.startswith(("airflow.task", "airflow.providers"))
    )
    return is_airflows and event.level in {"debug", "info"}


def _event_text(event: LogEvent) -> str:
    level = event.level.upper() if event.level in {"warning", "error", "critical"} else ""
    text = f"{level} {event.event}" if level else event.event
    for exception in event.exceptions[:1]:
        text += f" ({exception.kind}: {exception.message})"
    return text


def _both_halves(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length // 2]} … {text[-(length // 2) :]}"


def plain(text: str) -> str:
    """Drop what would colour a terminal, and every other character that is not to be seen."""
    return visible(_ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))
