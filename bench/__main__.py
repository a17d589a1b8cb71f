"""`python -m bench`: everything; `python -m bench cpu waiting`: some groups, without writing results.json."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from bench import cpu, delay, discovery, machine, memory, parallel, startup, waiting
from bench.servers import Servers
from bench.stock_airflow import StockAirflow, stock_airflow
from bench.subjects import Subject, astro, dagcall, script
from bench.table import ASTRO, DAGCALL, SCRIPT, NotMeasured, Table
from dagcall.demo.installation import InstallationError

HERE = Path(__file__).parent
WITHOUT_AIRFLOW = {"startup": startup.measure, "cpu": cpu.measure, "memory": memory.measure}
ON_ONE_AIRFLOW = ("delay", "parallel", "waiting")
GROUPS = (*WITHOUT_AIRFLOW, *ON_ONE_AIRFLOW, "discovery")
WIDTH = 150
"""Of what is printed into a file."""


@dataclass
class Bench:
    """One run of the bench."""

    console: Console
    groups: set[str]
    work: Path = HERE / ".work"
    table: Table = field(default_factory=Table)
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each step took."""

    def say(self, text: str) -> None:
        """Print one line of progress."""
        self.console.print(text, style="dim", markup=False, highlight=False)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Say what is measured now, and note how long that takes."""
        self.say(f"{name} …")
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(time.perf_counter() - began, 1)
            self.say(f"{name}: {self.seconds[name]} s")

    async def run(self) -> None:
        """Measure all groups that are wanted."""
        memory.raise_file_limit()
        self.work.mkdir(exist_ok=True)
        async with Servers(self.work).running() as servers:
            for name, measure in WITHOUT_AIRFLOW.items():
                if name in self.groups:
                    with self.step(name):
                        await measure(self.table, servers)
            if self.groups & set(ON_ONE_AIRFLOW):
                async with self._airflow("an Airflow") as airflow:
                    await self._with_airflow(servers, airflow)
            if "discovery" in self.groups:  # elsewhere: an Airflow that reads a thousand dags has less time for calls
                async with self._airflow("another Airflow") as airflow:
                    with self.step("discovery"):
                        await discovery.measure(self.table, servers, airflow)

    @asynccontextmanager
    async def _airflow(self, which: str) -> AsyncIterator[StockAirflow]:
        async with contextlib.AsyncExitStack() as stack:
            with self.step(f"start of {which}"):
                airflow = await stack.enter_async_context(stock_airflow(self.work, self.say))
            yield airflow

    async def _with_airflow(self, servers: Servers, airflow: StockAirflow) -> None:
        """Measure on a real Airflow; the script comes last, for many calls of it break an Airflow."""
        async with dagcall(servers, airflow) as subject:
            await self._calls(airflow, subject, DAGCALL, (20, 100))
            if "parallel" in self.groups:
                await self._compared(servers, airflow, subject)
        async with self._astro(airflow) as other:
            if other is not None:
                await self._calls(airflow, other, ASTRO, (20, 100))
        if "waiting" in self.groups:
            with self.step("waiting: dagcall"):
                idle = await waiting.measure_idle(self.table, airflow)
                await waiting.measure_dagcall(self.table, servers, airflow, idle)
            with self.step("waiting: script"):
                await waiting.measure_script(self.table, airflow, idle)
            await self._pause(airflow)
        async with script(airflow) as subject:
            await self._calls(airflow, subject, SCRIPT, (20, 100))

    async def _calls(self, airflow: StockAirflow, subject: Subject, column: str, numbers: tuple[int, ...]) -> None:
        if "delay" in self.groups:
            with self.step(f"delay: {column}"):
                await delay.measure(self.table, airflow, subject, column)
        if "parallel" in self.groups:
            for number in numbers:
                with self.step(f"{number} at once: {column}"):
                    await parallel.measure(self.table, airflow, subject, column, number)

    async def _compared(self, servers: Servers, airflow: StockAirflow, subject: Subject) -> None:
        """Compare parallel calls with the least that they can take, with the script, and with two servers."""
        with self.step("100 at once: trigger only"):
            await parallel.measure_trigger_only(self.table, airflow, 100)
        with self.step("20 at once: five pairs"):
            async with script(airflow) as other:
                await parallel.measure_pairs(self.table, subject, other)
        with self.step("100 at once: two servers"):
            async with dagcall(servers, airflow) as second:
                await parallel.measure_servers(self.table, airflow, (subject, second), 100)

    @asynccontextmanager
    async def _astro(self, airflow: StockAirflow) -> AsyncIterator[Subject | None]:
        """Give the package as a subject; None, and a reason in the table, if it cannot be had."""
        async with contextlib.AsyncExitStack() as stack:
            subject = None
            if self.groups & {"delay", "parallel"}:
                try:
                    subject = await stack.enter_async_context(astro(self.work, airflow))
                except (InstallationError, OSError) as error:
                    why = NotMeasured(f"it could not be installed: {str(error).splitlines()[0]}")
                    self.table.put(delay.SECTION, "answer after the run's end, p50", "ms", ASTRO, why)
            yield subject

    async def _pause(self, airflow: StockAirflow) -> None:
        """Keep the runs that nobody waits for any longer from Airflow's scheduler."""
        (await airflow.http.patch(f"dags/{waiting.DAG}", json={"is_paused": True})).raise_for_status()


async def main(console: Console, groups: set[str]) -> int:
    """Run the bench until it is done or stopped; return the exit code."""
    bench = Bench(console, groups or set(GROUPS))
    work = asyncio.ensure_future(bench.run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    began = time.perf_counter()
    try:
        await work
    except asyncio.CancelledError:
        console.print("stopped; results.json is as it was")
        return 130
    except BlockingIOError:
        console.print("another bench runs in this folder; wait for it, or stop it")
        return 1
    facts = machine.facts()
    bench.table.show(console, facts)
    if not groups:
        date = f"{datetime.now(UTC):%Y-%m-%d}"  # noqa: TID251 - the day of this run
        total = round(time.perf_counter() - began, 1)
        about = {"date": date, "machine": facts, "seconds": {**bench.seconds, "in all": total}}
        bench.table.write(HERE / "results.json", about)
        console.print(f"written to {HERE / 'results.json'}", highlight=False)
    return 0


def console() -> Console:
    """Return a console on standard output, wide enough for the table where nobody looks at it live."""
    shown = Console()
    return shown if shown.is_terminal else Console(width=WIDTH)


if __name__ == "__main__":
    wanted = set(sys.argv[1:])
    if unknown := sorted(wanted - set(GROUPS)):
        sys.exit(f"bench: there is no group {unknown[0]!r}; the groups are {', '.join(GROUPS)}")
    sys.exit(asyncio.run(main(console(), wanted)))
