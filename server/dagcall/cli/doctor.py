"""`dagcall doctor`: what works between dagcall and Airflow, what does not, and what to do about it."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from dagcall.cli.options import ConfigOption, settings_at
from dagcall.cli.reading import run_to_end
from dagcall.cli.terminal import readable
from dagcall.settings import Settings

if TYPE_CHECKING:
    from dagcall.doctor import Outcome

STYLES = {"ok": "green", "warning": "yellow", "failure": "bold red", "skipped": "dim"}
NAME_WIDTH = 25
INDENT = " " * (max(map(len, STYLES)) + 2)


def doctor(
    dag: Annotated[
        str | None,
        typer.Argument(
            help="The dag to check the account's rights on. Default: the first that the allow-list selects.",
            show_default=False,
        ),
    ] = None,
    *,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check everything between dagcall and Airflow, and say what to do.

    Safe in production: it only reads, never starts a run, and sends some 60 requests, and two for each of at most 50
    dags. Exit code: 0 if no check failed (warnings do not count), 1 if one did, 2 if the settings are invalid.
    """
    settings = settings_at(config)
    outcomes = run_to_end(_examined(settings, dag))
    counts = Counter(str(outcome.finding.status) for outcome in outcomes)
    if as_json:
        print(readable({"is_well": not counts["failure"], "checks": [_as_json(outcome) for outcome in outcomes]}))
    else:
        _show(outcomes)
        print(f"\n{', '.join(_counted(status, counts[status]) for status in STYLES if counts[status])}")
    if counts["failure"]:
        raise typer.Exit(1)


async def _examined(settings: Settings, dag_id: str | None) -> list["Outcome"]:
    from dagcall.doctor import examine  # noqa: PLC0415 - slow to import

    outcomes: list[Outcome] = []
    with Console(stderr=True).status("checking") as status:
        async for outcome in examine(settings, dag_id=dag_id):
            outcomes.append(outcome)
            status.update(Text(f"checking; {outcome.name}: {outcome.finding.status}"))
    return outcomes


def _as_json(outcome: "Outcome") -> dict[str, Any]:
    finding = outcome.finding
    return {
        "name": outcome.name,
        "meaning": outcome.meaning,
        "status": finding.status,
        "found": finding.found,
        "advice": finding.advice,
        "needs": outcome.blocked_by or None,
    }


def _show(outcomes: Sequence["Outcome"]) -> None:
    """Print a line for each check, one for all those that need the same failed one, and what to do."""
    console = Console(soft_wrap=True)
    for blocker, group in groupby(outcomes, lambda outcome: outcome.blocked_by):
        some = list(group)
        if blocker:
            names = ", ".join(outcome.name for outcome in some)
            _line(console, "skipped", f"after: {blocker}", f"not checked: {names}")
            continue
        for outcome in some:
            _line(console, outcome.finding.status, outcome.name, outcome.finding.found)
            if outcome.finding.advice:
                console.print(Text(f"{INDENT}{'':{NAME_WIDTH}}-> {outcome.finding.advice}"))


def _counted(status: str, count: int) -> str:
    return f"{count} {status}{'s' if status in {'warning', 'failure'} and count > 1 else ''}"


def _line(console: Console, status: str, name: str, found: str) -> None:
    padded = f"{status:<{len(INDENT)}}"
    console.print(Text.assemble((padded, STYLES[status]), f"{name:<{NAME_WIDTH}}{found}"))
