"""`docs/proof.md`, written from the findings of the suites."""

from collections.abc import Callable, Sequence
from typing import Any

from tests.chaos import section as chaos
from tests.fuzz import section as fuzz
from tests.proof import record

PAGE = record.ROOT / "docs" / "proof.md"
HEAD = """\
# Proof

What dagcall was put through, and what came of it. Each suite writes its part of this page at the end of a whole run;
`make test` runs a short form of each.
"""

Section = Callable[[dict[str, Any]], str]
SUITES: Sequence[tuple[str, str, str, Section]] = (
    ("chaos", "Faults at random", "make chaos", chaos.section),
    ("fuzz", "Inputs that are almost right", "make fuzz", fuzz.section),
)
"""Each suite's name, title, command, and what turns its findings into Markdown, in the order of the page."""


def render() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for suite, title, command, section in SUITES:
        found = record.read(suite)
        if found is None:
            continue
        on = f"`{command}`, {found['date']}, {duration(found['seconds'])}: {machine(found['machine'])}."
        parts.append(f"## {title}\n\n{on}\n\n{section(found['findings']).strip()}\n")
    return "\n".join(parts)


def write() -> None:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render(), encoding="utf-8")


def machine(facts: dict[str, Any]) -> str:
    """Return what the suite ran on, as a phrase."""
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def duration(seconds: int) -> str:
    """Return a length of time as people say it."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
