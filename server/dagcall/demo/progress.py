"""The progress of the demo's start: one line per step, live on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

#: Seconds between two plain lines about a slow step.
PLAIN_INTERVAL = 5.0


@dataclass
class Step:
    """One step of the start."""

    name: str
    state: str = "waiting"
    """waiting, running, done or failed."""
    began: float = 0.0
    seconds: float = 0.0
    note: str = ""
    spinner: Spinner = field(default_factory=lambda: Spinner("dots"))


@dataclass
class Progress:
    """The steps of the start, in order."""

    console: Console
    steps: list[Step]
    clock: Callable[[], float] = time.monotonic
    _said: float = 0.0

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the steps while the block runs."""
        if not self.console.is_terminal:
            yield
            return
        with Live(self, console=self.console, refresh_per_second=10):
            yield

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Run one step; yield a function for progress notes."""
        step = next(step for step in self.steps if step.name == name)
        step.state, step.began = "running", self.clock()
        self._say(f"{name} ...")
        try:
            yield lambda note: self._note(step, note)
        except BaseException as error:
            if step.state == "running":
                step.state = "failed" if isinstance(error, Exception) else "stopped"
            raise
        else:
            step.state = "done"
            self._say(f"{name}: done in {self._elapsed(step)}")
        finally:
            step.seconds, step.note = self.clock() - step.began, ""

    def fail_running(self) -> None:
        """Mark the running steps as failed, because a process they need has died."""
        for step in self.steps:
            if step.state == "running":
                step.state = "failed"

    def failed(self) -> str | None:
        """Return the name of the step that failed."""
        return next((step.name for step in self.steps if step.state == "failed"), None)

    def _note(self, step: Step, note: str) -> None:
        step.note = note
        if note and self.clock() - self._said >= PLAIN_INTERVAL:
            self._say(f"{step.name}: {self._elapsed(step)}, {note}")

    def _say(self, line: str) -> None:
        self._said = self.clock()
        if not self.console.is_terminal:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)
            self.console.file.flush()

    def _elapsed(self, step: Step) -> str:
        seconds = self.clock() - step.began if step.state == "running" else step.seconds or self.clock() - step.began
        return f"{seconds:.1f} s"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = {"waiting": "[dim]·", "done": "[green]✓", "failed": "[red]✗", "stopped": "[yellow]-"}
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim")
        for step in self.steps:
            waits = step.state == "waiting"
            mark = step.spinner if step.state == "running" else marks[step.state]
            name = f"[dim]{step.name}" if waits else step.name
            table.add_row(mark, name, "" if waits else self._elapsed(step), step.note.replace("[", r"\["))
        yield table
