"""Waits for runs on behalf of polling clients.

A poller waits for its run exactly as a plain call does, so that the client is answered from memory and frequent polls
cost Airflow nothing. It is kept while the client keeps polling. A polling client is present: the next identical call
does not adopt its run. A client that has not polled for longer than its poll interval has left, as if it had closed its
connection. Nothing is lost: the next poll of the run starts a new wait.
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
"""How long one wait may last; the next request starts another one."""
SLACK_SECONDS = 1.0
"""How late a client may poll."""
CLOSING_SECONDS = 1.0


@dataclass(eq=False, slots=True)
class TaskPoller:
    """Waits for a run on behalf of a client."""

    tool: Tool
    run: Run
    """The run at the start of the wait."""
    now: Callable[[], datetime]
    updated_at: datetime
    stage: str
    provenance: Provenance = ""
    """How the call got the run, if it did not start it."""
    progress_text: str = ""
    observer: RunObserver | None = None
    entry: Entry | None = None
    """The run's ledger entry, once it has ended; records the delivery of the outcome."""
    marks: list[str] = field(default_factory=list)
    """Marks about unanswered questions that could not be written into the run's note."""
    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Question key -> why the person's last answer was refused."""
    answer: asyncio.Task[Answer] = field(init=False)
    lapse: asyncio.TimerHandle | None = None
    is_released: bool = False

    @property
    def handle(self) -> Handle:
        """The client's handle."""
        return Handle(self.tool.name, self.run.run_id, self.provenance)

    @property
    def poll_seconds(self) -> float:
        """How long the client should wait before the next poll."""
        return poll_seconds((self.now() - self.run.run_after).total_seconds())

    @property
    def listener(self) -> Listener:
        """The listener that waits for the run."""
        deadline = asyncio.get_running_loop().time() + ATTENDED_SECONDS
        return Listener(deadline, self.enter, self.look_through, self.end)

    async def has_answer(self, seconds: float) -> bool:
        """Wait at most this long; return whether there is an answer or an error."""
        await asyncio.wait({self.answer}, timeout=seconds)
        return self.answer.done()

    def enter(self, stage: str) -> None:
        """Record the current stage."""
        if stage != self.stage:
            self.stage, self.updated_at = stage, self.now()

    def look_through(self, observer: RunObserver) -> None:
        """Keep the observer of the run."""
        self.observer = observer
        observer.on_change = self._note_change
        if self.is_released:
            self.release()

    def end(self, entry: Entry) -> None:
        """Record that the run has ended."""
        self.entry, self.updated_at = entry, self.now()

    def release(self) -> None:
        """Stop waiting. Unlike a call that is cancelled, this never changes the run."""
        self.is_released = True
        if self.observer is not None:
            self.observer.close()

    def _note_change(self) -> None:
        if self.observer is not None and self.observer.progress_text != self.progress_text:
            self.progress_text, self.updated_at = self.observer.progress_text, self.now()


class TaskPollers:
    """Keeps the pollers.

    Args:
        runs: waits for runs.
        now: the time in UTC.
    """

    def __init__(self, runs: Runs, now: Callable[[], datetime]) -> None:
        self._runs = runs
        self._now = now
        self._kept: dict[str, TaskPoller] = {}

    def of(self, handle: Handle) -> TaskPoller | None:
        """Return the poller of a run, if there is one."""
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
        """Wait for a run, replacing an existing poller.

        Args:
            tool: the tool that started it.
            run: the run.
            started: the return value of `Runs.begin`.
            provenance: how the call got the run, if it did not start it.
            seconds: how long to wait for the client's next poll; None for its poll interval.
        """
        poller = TaskPoller(tool, run, self._now, self._now(), run.state.value, provenance)
        poller.answer = asyncio.create_task(
            self._runs.attend(tool, run, poller.listener, started),
            name=f"attend {run.run_id}",
        )
        # If the client polls no more, its error is dropped.
        poller.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        if before := self.of(poller.handle):
            self.drop(before)
        self._kept[poller.handle.task_id] = poller
        self.expect(poller, seconds)
        return poller

    def expect(self, poller: TaskPoller, seconds: float | None = None) -> None:
        """Expect the client's next poll within this time; None for its poll interval."""
        if self.of(poller.handle) is not poller:
            return
        if poller.lapse is not None:
            poller.lapse.cancel()
        due = poller.poll_seconds + SLACK_SECONDS if seconds is None else seconds
        poller.lapse = asyncio.get_running_loop().call_later(due, self.drop, poller)

    def drop(self, poller: TaskPoller) -> None:
        """Stop waiting for this run."""
        poller.release()
        if poller.lapse is not None:
            poller.lapse.cancel()
        if self.of(poller.handle) is poller:
            del self._kept[poller.handle.task_id]

    async def aclose(self) -> None:
        """Stop all pollers."""
        poller = list(self._kept.values())
        for each in poller:
            self.drop(each)
        if not poller:
            return
        _, pending = await asyncio.wait([each.answer for each in poller], timeout=CLOSING_SECONDS)
        for answer in pending:
            answer.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
