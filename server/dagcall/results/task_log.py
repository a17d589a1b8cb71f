"""The log of a task -> the lines that the task itself wrote.

Pure. Leaves out Airflow's own bookkeeping, terminal colours and invisible characters.
"""

import re
from collections.abc import Sequence

from dagcall.airflow import LogEvent
from dagcall.masking import Masker
from dagcall.text import shortened, visible

MAX_LINE_CHARACTERS = 300
WINDOW_EVENTS = 200
WINDOW_CHARACTERS = 50_000
"""How much of a log's end is masked before its last lines are taken, because a private key has many lines."""
MIN_ROOM_CHARACTERS = 10_000
"""An event is cut only far from the lines shown: half a secret has no recognisable shape or value."""

STOPPED_FROM_OUTSIDE = "Server indicated the task shouldn't be running anymore"
"""Airflow's log line for a task whose state was changed while it ran (3.1 to 3.3)."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")


def last_lines(events: Sequence[LogEvent], count: int, characters: int, masker: Masker) -> list[str]:
    """Return the last lines that the task itself wrote, up to a number of lines and of characters."""
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
    """Return the events without Airflow's bookkeeping.

    Airflow's groups (`Pre Execute`, …) cannot be dropped entirely: a task's output comes through a pipe, and may arrive
    within the next group.
    """
    return [event for event in written_events(events) if not _is_bookkeeping(event)]


def written_events(events: Sequence[LogEvent]) -> list[LogEvent]:
    """Return the events without the first group, which names the log's sources, and without group marks."""
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
        return True  # reported as the reason
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
    """Drop terminal colours and invisible characters."""
    return visible(_ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))
