"""The input and output of the programs in this folder; the tests share nothing else with them.

    python with_….py '[{"action": "call", "url": "http://…/mcp", "tool": "quick", "arguments": {"x": 1}, …}, …]'

The last line that a program prints is JSON: for each job what the client saw, or `{"error": …}`.
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
"""How often a client makes the same call if it cannot change its timeout in between."""


@dataclass(frozen=True)
class Job:
    """One action with a server."""

    action: str
    """`list`, `call`, `progress`, `failure`, `repeat`, `question`, `large` or `cancel`."""
    url: str
    """The server's URL for HTTP; empty to start `command` and use stdio."""
    command: list[str]
    tool: str
    arguments: dict[str, Any]
    patience: float
    """After how many seconds a client that gives up does so."""
    linger: float
    """For how many seconds a client stays connected after it has cancelled a call."""
    answer: dict[str, Any]
    """The user's answer to a question."""
    part: dict[str, Any]
    """The part of a large result to read: arguments of `read_dag_result`."""
    variant: str = ""
    """One of several ways to use the client."""

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a stdio server, which is this program's."""
        return dict(os.environ)  # noqa: TID251 - a child process starts with its parent's environment

    @property
    def gives_up(self) -> bool:
        """Whether the client's first call should time out."""
        return self.action == "repeat"

    @property
    def asks(self) -> bool:
        """Whether the client has a user to answer questions."""
        return self.action == "question"


@dataclass
class Seen:
    """What a client saw in one job."""

    job: Job
    tools: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """What a model reads after each call: the timeout messages, then the answer."""
    is_error: bool | None = None
    """Whether the client reports the answer as an error; None if it does not say."""
    progress: list[tuple[float, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """The questions that the user was asked."""
    is_cancelled: bool = False
    part: str = ""
    """The end of a large result, as a model reads it."""

    async def on_progress(self, number: float, _total: float | None, message: str | None, *_: Any) -> None:
        """Record progress; all clients call this in the same way."""
        self.progress.append((number, message or ""))

    @property
    def calls(self) -> bool:
        """Whether the scripted model should call the tool now: it has not called yet, or its call timed out."""
        if self.job.action == "list":
            return False
        gave_up = self.job.gives_up and "dag_run_id" not in "".join(self.texts) and len(self.texts) < MOST_CALLS
        return not self.texts or gave_up

    async def cancel(self, call: "asyncio.Task[Any]") -> None:
        """Cancel a call after a while, and stay connected for a while."""
        await asyncio.wait([call], timeout=self.job.patience)
        call.cancel()
        await asyncio.wait([call])
        self.is_cancelled = call.cancelled()
        await asyncio.sleep(self.job.linger)


Act = Callable[[Seen], Awaitable[None]]


def each(act: Act, *, at_once: int = 4) -> None:
    """Do all jobs, each in a fork of this process, because importing a client takes long."""
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
    except BaseException:  # noqa: BLE001 - the test reports any error
        return {"error": traceback.format_exc()}
    found = dict(vars(seen))
    del found["job"]
    return found
