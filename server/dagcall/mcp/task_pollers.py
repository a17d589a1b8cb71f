"""Runs that are waited for in the stead of clients who ask now and then.

Somebody waits for such a run exactly as for a plain call, so that the client is answered from memory, and one that
asks often costs Airflow nothing. It is kept for as long as the client keeps asking: a client that asks is there, and
its run is not adopted by the next identical call; one that has not asked for longer than it was told to wait is gone,
as one that has closed its connection is. Nothing is lost then: whoever asks for the run again has it waited for anew.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from dagcall.airflow import Run
from dagcall.mcp.task_protocol import Handle, Provenance, poll_seconds
from dagcall.runs import Answer, Entry, Listener, RunObserver, Runs, Started
from dagcall.tools import Tool

ATTENDED_SECONDS = 86_400.0
"""How long one wait may last; the next request begins another one."""
SLACK_SECONDS = 1.0
"""How much later than it was told to a client may ask."""
CLOSING_SECONDS = 1.0


@dataclass(eq=False, slots=True)
class TaskPoller:
    """A run that is waited for in a client's stead."""

    tool: Tool
    run: Run
    """As it was when the waiting began."""
    now: Callable[[], datetime]
    updated_at: datetime
    stage: str
    provenance: Provenance = ""
    """How the call came by the run."""
    progress_text: str = ""
    observer: RunObserver | None = None
    entry: Entry | None = None
    """Of the run, when it has ended; takes note that the outcome has arrived."""
    marks: list[str] = field(default_factory=list)
    """What became of questions without an answer, as far as it could not be noted on the run."""
    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Question key -> why the person's last answer was not taken."""
    answer: asyncio.Task[Answer] = field(init=False)
    lapse: asyncio.TimerHandle | None = None
    is_released: bool = False

    @property
    def handle(self) -> Handle:
        """The client's handle."""
        return Handle(self.tool.name, self.run.run_id, self.provenance)

    @property
    def poll_seconds(self) -> float:
        """How long the client should wait before it asks again."""
        return poll_seconds((self.now() - self.run.run_after).total_seconds())

    @property
    def listener(self) -> Listener:
        """Who waits for the run."""
        deadline = asyncio.get_running_loop().time() + ATTENDED_SECONDS
        return Listener(deadline, self.enter, self.look_through, self.end)

    async def has_answer(self, seconds: float) -> bool:
        """Say whether there is an answer, or an error, waiting for it for so long."""
        await asyncio.wait({self.answer}, timeout=seconds)
        return self.answer.done()

    def enter(self, stage: str) -> None:
        """Take note of what is going on."""
        if stage != self.stage:
            self.stage, self.updated_at = stage, self.now()

    def look_through(self, observer: RunObserver) -> None:
        """Take note of what is observed of the run."""
        self.observer = observer
        observer.on_change = self._note_change
        if self.is_released:
            self.release()

    def end(self, entry: Entry) -> None:
        """Take note that the run has ended."""
        self.entry, self.updated_at = entry, self.now()

    def release(self) -> None:
        """Wait no longer; unlike a call that breaks off, that leaves the run alone in any case."""
        self.is_released = True
        if self.observer is not None:
            self.observer.close()

    def _note_change(self) -> None:
        if self.observer is not None and self.observer.progress_text != self.progress_text:
            self.progress_text, self.updated_at = self.observer.progress_text, self.now()


class TaskPollers:
    """Keeps what is waited for.

    Args:
        runs: waits.
        now: the time in UTC.
    """

    def __init__(self, runs: Runs, now: Callable[[], datetime]) -> None:
        self._runs = runs
        self._now = now
        self._kept: dict[str, TaskPoller] = {}

    def of(self, handle: Handle) -> TaskPoller | None:
        """Return what waits for a run; None if nothing does."""
        return self._kept.get(handle.task_id)

    def begin(
        self,
        tool: Tool,
        run: Run,
        started: Started | None = None,
        *,
        provenance: Provenance = "",
        seconds: float | None = None,
    ) -> TaskPoller:
        """Wait for a run, in the place of what waits for it by now.

        Args:
            tool: the tool that started it.
            run: the run.
            started: as `Runs.begin` returned it.
            provenance: how the call came by the run.
            seconds: how long to wait for the client's next request; None for as long as it was told to take.
        """
        poller = TaskPoller(tool, run, self._now, self._now(), run.state.value, provenance)
        poller.answer = asyncio.create_task(
            self._runs.attend(tool, run, poller.listener, started),
            name=f"attend {run.run_id}",
        )
        # Where nobody asks any more, an error is nobody's business.
        poller.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        if before := self.of(poller.handle):
            self.drop(before)
        self._kept[poller.handle.task_id] = poller
        self.expect(poller, seconds)
        return poller

    def expect(self, poller: TaskPoller, seconds: float | None = None) -> None:
        """Expect the client to ask again within this time; None for as long as it was told to take."""
        if self.of(poller.handle) is not poller:
            return
        if poller.lapse is not None:
            poller.lapse.cancel()
        due = poller.poll_seconds + SLACK_SECONDS if seconds is None else seconds
        poller.lapse = asyncio.get_running_loop().call_later(due, self.drop, poller)

    def drop(self, poller: TaskPoller) -> None:
        """Wait for this run no longer."""
        poller.release()
        if poller.lapse is not None:
            poller.lapse.cancel()
        if self.of(poller.handle) is poller:
            del self._kept[poller.handle.task_id]

    async def aclose(self) -> None:
        """Wait for nothing any more."""
        poller = list(self._kept.values())
        for each in poller:
            self.drop(each)
        if not poller:
            return
        _, pending = await asyncio.wait([each.answer for each in poller], timeout=CLOSING_SECONDS)
        for answer in pending:
            answer.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
