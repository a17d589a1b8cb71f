"""What a program of this folder is told to do, and how it says what it saw. No more is shared with the tests.

    python with_….py '[{"action": "call", "url": "http://…/mcp", "tool": "quick", "arguments": {"x": 1}, …}, …]'

A program prints one line of JSON, its last: for each job what the client saw, or `{"error": …}`.
"""

import asyncio
import json
import multiprocessing
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

MOST_CALLS = 8
"""How often a client makes the same call whose time-out it cannot change in between."""


@dataclass(frozen=True)
class Job:
    """One thing to do with a server."""

    action: str
    """`list`, `call`, `progress`, `failure`, `repeat`, `question`, `large` or `cancel`."""
    url: str
    """The server's, over HTTP; empty: start `command` and speak over stdio."""
    command: list[str]
    tool: str
    arguments: dict[str, Any]
    patience: float
    """Seconds after which a client that is to give up does so."""
    linger: float
    """Seconds for which a client that has cancelled a call stays connected."""
    answer: dict[str, Any]
    """What the client's user answers to a question."""
    part: dict[str, Any]
    """Which part of a large result to read: arguments of `read_dag_result`."""
    variant: str = ""
    """Which of several ways to use the client."""

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a server over stdio: this program's own."""
        return dict(os.environ)  # noqa: TID251 - a child process begins with the environment of its parent

    @property
    def gives_up(self) -> bool:
        """Whether the client's time-out is to end its first call."""
        return self.action == "repeat"

    @property
    def asks(self) -> bool:
        """Whether the client is to have a user whom it can ask."""
        return self.action == "question"


@dataclass
class Seen:
    """What a client saw of one job."""

    job: Job
    tools: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """What a model reads after each call: the messages of time-outs, and then the answer."""
    is_error: bool | None = None
    """Whether the client knows that the answer is an error; None: it does not say."""
    progress: list[tuple[float, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """What the user was asked."""
    is_cancelled: bool = False
    part: str = ""
    """Of a large result: what a model reads of its end."""

    async def on_progress(self, number: float, _total: float | None, message: str | None, *_: Any) -> None:
        """Note how far a run is; every client calls it alike."""
        self.progress.append((number, message or ""))

    @property
    def calls(self) -> bool:
        """Whether the model that this client is given calls the tool now: it has not yet, or its call was given up."""
        if self.job.action == "list":
            return False
        gave_up = self.job.gives_up and "dag_run_id" not in "".join(self.texts) and len(self.texts) < MOST_CALLS
        return not self.texts or gave_up

    async def cancel(self, call: "asyncio.Task[Any]") -> None:
        """Cancel a call after a while, and stay for a while."""
        await asyncio.wait([call], timeout=self.job.patience)
        call.cancel()
        await asyncio.wait([call])
        self.is_cancelled = call.cancelled()
        await asyncio.sleep(self.job.linger)


Act = Callable[[Seen], Awaitable[None]]


def each(act: Act, *, at_once: int = 4) -> None:
    """Do all jobs, each in a process that begins as a copy of this one: clients take long to import, and then wait."""
    jobs = [Job(**job) for job in json.loads(sys.argv[1])]
    with multiprocessing.get_context("fork").Pool(at_once, maxtasksperchild=1) as pool:
        found = pool.starmap(_found, [(act, job) for job in jobs], chunksize=1)
    print(json.dumps(found), flush=True)  # noqa: T201 - its result


def _found(act: Act, job: Job) -> dict[str, Any]:
    try:
        seen = Seen(job)
        asyncio.run(act(seen))
        if job.action == "large":
            end = {"tool": job.tool, "dag_run_id": json.loads(seen.texts[-1])["dag_run_id"], **job.part}
            reading = Seen(replace(job, action="call", tool="read_dag_result", arguments=end))
            asyncio.run(act(reading))
            seen.part = reading.texts[-1]
    except BaseException:  # noqa: BLE001 - whatever it is, the test shows it
        return {"error": traceback.format_exc()}
    found = dict(vars(seen))
    del found["job"]
    return found
