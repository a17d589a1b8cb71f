"""`dagcall runs`: the recent calls, as Airflow's runs show them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dagcall.airflow import AirflowApi, Run
from dagcall.cli.options import ConfigOption, settings_at
from dagcall.cli.reading import airflow_of, run_to_end
from dagcall.cli.terminal import readable
from dagcall.settings import Settings
from dagcall.text import visible

MOST = 1000


@dataclass(frozen=True, slots=True)
class CalledRun:
    """One run that a call started."""

    started: str
    """When, in UTC, to the second."""
    tool: str
    dag_id: str
    run_id: str
    caller: str
    """The caller and its client; empty if a person has replaced the run's note."""
    state: str
    seconds: float | None
    """From the call to the run's end; None while it has not ended."""
    url: str


def show_runs(
    tool: Annotated[str | None, typer.Argument(help="Only calls of this tool.", show_default=False)] = None,
    *,
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option(help="How many of the newest runs to look at.", min=1, max=MOST)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """Show the recent calls: who called what, and how it ended.

    Reads Airflow, and links to the runs there. It shows the calls of every dagcall with this Airflow, and of every
    caller.
    """
    found = [run for run in run_to_end(_read(settings_at(config), limit)) if tool in {None, run.tool}]
    if as_json:
        print(readable([asdict(run) for run in found]))
    elif found:
        _show(found)
    else:
        print(visible(f"no calls{f' of {tool}' if tool else ''} among the last {limit}"))


def _show(found: Sequence[CalledRun]) -> None:
    table = Table("started (UTC)", "tool", "caller", "state", "took", "run")
    table.columns[-1].overflow = "fold"  # an address that is cut short is of no use
    for run in found:
        took = "" if run.seconds is None else f"{run.seconds:.1f} s"
        row = (run.started.replace("T", " ")[:19], run.tool, run.caller, run.state, took, run.url)
        table.add_row(*(Text(visible(cell)) for cell in row))
    Console().print(table)


async def _read(settings: Settings, limit: int) -> list[CalledRun]:
    async with airflow_of(settings) as api:
        return await called_runs(api, limit)


async def called_runs(api: AirflowApi, limit: int) -> list[CalledRun]:
    """Return the newest runs that calls started, newest first.

    Args:
        api: Airflow.
        limit: how many runs to look at.
    """
    from dagcall.mcp import said_in_note  # noqa: PLC0415 - slow to import
    from dagcall.runs import PREFIX, says_cancelled  # noqa: PLC0415 - likewise

    def called(run: Run) -> CalledRun:
        tool, caller = said_in_note(run.note) or (run.dag_id, "")
        return CalledRun(
            started=run.run_after.isoformat(timespec="seconds"),
            tool=tool,
            dag_id=run.dag_id,
            run_id=run.run_id,
            caller=caller,
            state="cancelled" if says_cancelled(run) else str(run.state),
            seconds=None if run.end_date is None else round((run.end_date - run.run_after).total_seconds(), 3),
            url=api.run_url(run.dag_id, run.run_id),
        )

    return [called(run) for run in await api.fetch_runs_with_prefix(None, PREFIX, limit=limit)]
