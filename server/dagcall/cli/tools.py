"""`dagcall tools`: what is published, to whom, and why the rest is not; and one tool exactly as a model sees it."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dagcall.airflow import fetch_durations
from dagcall.auth import EVERYBODY
from dagcall.cli.options import ConfigOption, configured_pins, pin_folder_of, settings_at
from dagcall.cli.reading import read_snapshot, require_answer, run_to_end
from dagcall.cli.terminal import complain, indented, readable
from dagcall.errors import AirflowError, ConfigError
from dagcall.lint import estimated_tokens
from dagcall.settings import Settings
from dagcall.text import did_you_mean, visible
from dagcall.tools import PinFolder, Pins, Snapshot, Tool, published_by, wire_json

MOST_DURATIONS = 50
"""Each dag costs a request, so the usual durations of more dags are left out."""

tools_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a tool beyond its definition."""

    pin: str
    """`pinned`, `differs` or `not pinned`; empty without pins."""
    usual_seconds: float | None
    """How long its dag usually takes; None if too few runs succeeded lately."""
    tokens: int
    """About how many tokens its definition takes in a model's context."""


@tools_app.callback()
def show_tools(
    context: typer.Context,
    *,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tools as JSON, as clients get them.")] = False,
) -> None:
    """Show which dags are published, and why the others are not."""
    if context.invoked_subcommand is not None:
        return
    settings = settings_at(config)
    snapshot, known = run_to_end(_read(settings, _pins(settings)))
    callers = {name: tool.entry.callers or settings.auth.callers for name, tool in snapshot.tools.items()}
    if as_json:
        content = {
            "tools": [wire_json(tool.wire) for tool in snapshot.tools.values()],
            "callers": callers,
            "pins": {name: item.pin for name, item in known.items() if item.pin},
            "usual_seconds": {name: item.usual_seconds for name, item in known.items()},
            "tokens": {name: item.tokens for name, item in known.items()},
            "withheld": [{"what": item.what, "reason": item.reason} for item in snapshot.withheld],
            "problem": snapshot.problem,
        }
        print(readable(content))
    else:
        print_snapshot(snapshot, callers, known)
    if snapshot.problem:
        complain(snapshot.problem)
        raise typer.Exit(1)


@tools_app.command("show")
def show_tool(
    name: Annotated[str, typer.Argument(help="The tool's name, as `dagcall tools` shows it.")],
    *,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, as clients get it.")] = False,
) -> None:
    """Show one tool exactly as a model sees it."""
    settings = settings_at(config)
    snapshot = run_to_end(read_snapshot(settings, read_pins=configured_pins(settings)))
    published = published_by(require_answer(snapshot))
    if name not in published:
        raise ConfigError(f"tool {name!r} is not published{did_you_mean(name, published)}")
    wire = published[name]
    if as_json:
        print(readable(wire))
        return
    parts = {
        "title": wire.get("title"),
        "description": wire.get("description"),
        "arguments": wire["inputSchema"],
        "answer": wire.get("outputSchema"),
        "annotations": wire.get("annotations"),
    }
    print(name)
    for part, value in parts.items():
        if value is not None:
            print(f"\n{part}\n{indented(visible(value) if isinstance(value, str) else readable(value))}")


def print_snapshot(
    snapshot: Snapshot, callers: Mapping[str, Collection[str]], known: Mapping[str, Known] | None = None
) -> None:
    """Print a table of published tools, and one of withheld dags with the reasons.

    Args:
        snapshot: what is published, and what is not.
        callers: tool -> who may call it.
        known: tool -> what else is known of it.
    """
    console = Console()
    if snapshot.tools:
        console.print(_table(snapshot, _columns(callers, known or {})))
    else:
        console.print("Nothing is published.")
    if snapshot.withheld:
        table = Table("dag or selector", "reason", title="not published", title_justify="left")
        for item in snapshot.withheld:
            table.add_row(Text(visible(item.what)), Text(visible(item.reason)))
        console.print(table)


def _table(snapshot: Snapshot, columns: Mapping[str, Callable[[str, Tool], str]]) -> Table:
    table = Table(*columns, title="published", title_justify="left", show_lines=False)
    table.columns[0].no_wrap = True  # a name broken over two lines cannot be copied
    for name, tool in snapshot.tools.items():
        table.add_row(*(Text(visible(cell(name, tool))) for cell in columns.values()))
    return table


def _columns(
    callers: Mapping[str, Collection[str]], known: Mapping[str, Known]
) -> dict[str, Callable[[str, Tool], str]]:
    """Return the columns that say something: head -> the cell of a tool."""
    columns: dict[str, Callable[[str, Tool], str]] = {
        "tool": lambda name, _: name,
        "dag": lambda _, tool: tool.dag_id,
        "arguments (* required)": lambda _, tool: _arguments(tool),
    }
    if any(EVERYBODY not in meant for meant in callers.values()):
        columns["callers"] = lambda name, _: "everybody" if EVERYBODY in callers[name] else ", ".join(callers[name])
    if any(item.pin for item in known.values()):
        columns["pin"] = lambda name, _: known[name].pin
    if known:
        columns[f"tokens ({sum(item.tokens for item in known.values())})"] = lambda name, _: str(known[name].tokens)
    if any(item.usual_seconds is not None for item in known.values()):
        columns["usually takes"] = lambda name, _: _duration(known[name].usual_seconds)
    return columns


def _arguments(tool: Tool) -> str:
    required = tool.wire.input_schema["required"]
    return ", ".join(f"{key}*" if key in required else key for key in tool.input.properties) or "none"


def _duration(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s"


def _pins(settings: Settings) -> Pins | None:
    """Return the pins of the configured or the usual folder."""
    folder = pin_folder_of(settings, None)
    return PinFolder(folder).read() if settings.pins is not None or folder.is_dir() else None


async def _read(settings: Settings, pins: Pins | None) -> tuple[Snapshot, dict[str, Known]]:
    from dagcall.app import assembled  # noqa: PLC0415 - slow to import
    from dagcall.runs import usual_seconds  # noqa: PLC0415 - likewise

    async with assembled(settings, wait_seconds=0, read_pins=configured_pins(settings)) as dagcall:
        snapshot = await dagcall.catalog.refresh()
        dag_ids = list(snapshot.of_dag) if len(snapshot.of_dag) <= MOST_DURATIONS else []

        async def usual(dag_id: str) -> float | None:
            with suppress(AirflowError):  # only informative
                return usual_seconds(await fetch_durations(dagcall.waiter.api.rest, dag_id))
            return None

        seconds = dict(zip(dag_ids, await asyncio.gather(*map(usual, dag_ids)), strict=True))
        known = {
            name: Known(_pin(tool, pins), seconds.get(tool.dag_id), estimated_tokens(wire_json(tool.wire)))
            for name, tool in snapshot.tools.items()
        }
        return snapshot, known


def _pin(tool: Tool, pins: Pins | None) -> str:
    if pins is None:
        return ""
    wire: dict[str, Any] = wire_json(tool.wire)
    if pins.objection(wire) is None:
        return "pinned"
    return "differs" if wire["name"] in pins.tools else "not pinned"
