"""The pages in `docs/` that are written from the findings of the suites."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos import section as chaos
from tests.clients import section as clients
from tests.conformance import section as conformance
from tests.fuzz import section as fuzz
from tests.mutation import section as mutation
from tests.proof import record
from tests.soak import section as soak

DOCS = record.ROOT / "docs"


@dataclass(frozen=True)
class Suite:
    """A suite whose findings are kept."""

    name: str
    title: str
    command: str
    section: Callable[[dict[str, Any]], str]
    """Turns its findings into Markdown."""


@dataclass(frozen=True)
class Page:
    """A page that is made of suites' findings."""

    path: Path
    head: str
    suites: Sequence[Suite]


SOAK = Suite("soak", "Mixed calls for a quarter of an hour", "make soak", soak.section)
PROOF = Page(
    DOCS / "proof.md",
    """\
# Proof

What dagcall was put through, and what came of it. Each suite writes its part of this page at the end of a whole run;
`make test` runs a short form of most. What single faults come to is told in [What happens when …](faults.md).
""",
    (
        Suite("conformance", "The official conformance suite", "make conformance", conformance.section),
        Suite("clients", "Clients that others wrote", "make clients", clients.section),
        Suite("chaos", "Faults at random", "make chaos", chaos.section),
        Suite("fuzz", "Inputs that are almost right", "make fuzz", fuzz.section),
        SOAK,
        Suite("mutation", "Faults put into the pure modules", "make mutate", mutation.section),
    ),
)
BENCHMARKS = Page(
    DOCS / "benchmarks.md",
    """\
# Benchmarks

What a call costs is measured by `make bench`; its table stands in the [README](../README.md). What dagcall holds after
many calls is measured by `make soak`, which writes it down here.
""",
    (SOAK,),
)
CLIENTS = Page(
    DOCS / "clients.md", clients.HEAD, (Suite("clients", "What each can do", "make clients", clients.details),)
)
PAGES = (PROOF, BENCHMARKS, CLIENTS)


def render(page: Page) -> str:
    """Return a whole page."""
    parts = [page.head]
    for suite in page.suites:
        found = record.read(suite.name)
        if found is None:
            continue
        on = f"`{suite.command}`, {found['date']}, {duration(found['seconds'])}: {machine(found['machine'])}."
        parts.append(f"## {suite.title}\n\n{on}\n\n{suite.section(found['findings']).strip()}\n")
    return "\n".join(parts)


def write() -> None:
    """Write all pages."""
    for page in PAGES:
        page.path.parent.mkdir(exist_ok=True)
        page.path.write_text(render(page), encoding="utf-8")


def machine(facts: dict[str, Any]) -> str:
    """Return what the suite ran on, as a phrase."""
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def duration(seconds: int) -> str:
    """Return a length of time as people say it."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
