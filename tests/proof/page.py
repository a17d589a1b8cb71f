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
from tests.proof import benchmarks, record
from tests.scale import section as scale
from tests.soak import section as soak
from tests.versions import section as versions

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
    figures: Callable[[], str] | None = None
    """What stands between the two and is made of something else than findings."""


SOAK = Suite("soak", "Mixed calls for a quarter of an hour", "make soak", soak.section)
PROOF = Page(
    DOCS / "proof.md",
    """\
# Proof

The results of the long test suites. Each suite writes its part of this page after a complete run; `make test` runs a
short form of most. [What happens when …](faults.md) lists single faults.
""",
    (
        Suite("conformance", "The official conformance suite", "make conformance", conformance.section),
        Suite("versions", "Older versions of Airflow", "make versions", versions.section),
        Suite("clients", "Clients that others wrote", "make clients", clients.section),
        Suite("scale", "Several of everything, and one of each killed", "make scale", scale.section),
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

What a call costs, compared with other ways to do the same. `make bench` measures it in one run, on a stock Airflow of
its own; [bench/README.md](../bench/README.md) says how. `make soak` measures what dagcall holds after many calls.

| column | what is measured |
|---|---|
| dagcall | this project |
| script | a script that posts a run and reads `/wait` |
| astro-airflow-mcp | `trigger_dag_and_wait` of that package |
| bare SDK server | an MCP server whose tool only answers |
| trigger only | runs that are triggered as fast as Airflow accepts them, without waiting for results |
| wanted | the goal for dagcall; a missed one is marked |

The goal for CPU per call applies with Airflow in dagcall's own memory: over HTTP, two requests through httpx cost more
than everything else. The goal is 2.2 times the bare server, and it is missed: 2.24 times one after another, 2.6 times
with 16 at once. Since that run, each call also has a line in dagcall's log and is counted for Prometheus. Measured in
turns with and without them, this takes 0.03 to 0.04 ms and 0.02 to 0.05 ms more: 2.4 times one after another, 2.7 times
with 16 at once.

## Measurements
""",
    (SOAK,),
    figures=benchmarks.section,
)
CLIENTS = Page(
    DOCS / "clients-tested.md", clients.HEAD, (Suite("clients", "Results", "make clients", clients.details),)
)
PAGES = (PROOF, BENCHMARKS, CLIENTS)


def render(page: Page) -> str:
    """Return a whole page."""
    parts = [page.head]
    if page.figures is not None:
        parts.append(page.figures())
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
