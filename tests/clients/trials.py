"""The programs of the clients, run by their own interpreters."""

import json
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import pytest

from tests.clients.table import ROWS, Client, Trial
from tests.e2e.commands import DAGCALL
from tests.e2e.environments import interpreter_of
from tests.support.node import node_project
from tests.support.terminal import terminal_of

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
PROGRAM_SECONDS = 600.0
AT_ONCE = 3
"""Programs, each of which does up to four things at a time; most of the time they wait."""
PATIENCE_SECONDS = 5.0
"""Less than `slow` takes, and more than the second after which the same call is taken for a repeat."""
SLOWER_PATIENCE_SECONDS = 15.0
"""Likewise, and enough to start a dagcall over stdio while much else goes on."""
LINGER_SECONDS = 6.0
"""More than dagcall gives a caller to come back before it ends a run."""

Found = dict[str, Any]


class Trials:
    """Runs them, those of one client over one transport together.

    Args:
        url: of a running dagcall.
        environ: of another one, over stdio, and of the programs.
        config: whose terminal is told.
    """

    def __init__(self, url: str, environ: Mapping[str, str], config: pytest.Config) -> None:
        self._url = url
        self._environ = environ
        self._config = config
        self._began = time.monotonic()
        self._threads = ThreadPoolExecutor(AT_ONCE)
        self._found: dict[str, tuple[Future[list[Found]], int]] = {}
        self.passed: set[str] = set()
        """The keys of trials in which all was right."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    @property
    def seconds(self) -> float:
        """For how long trials have run."""
        return time.monotonic() - self._began

    @property
    def begun(self) -> set[str]:
        """The keys of the trials of this run."""
        return set(self._found)

    def begin(self, trials: list[Trial]) -> None:
        """Run trials in their order, while others judge what was found."""
        for _, group in groupby(trials, key=lambda trial: (trial.client.key, trial.transport)):
            together = list(group)
            running = self._threads.submit(self._run, together)
            self._found |= {trial.key: (running, place) for place, trial in enumerate(together)}

    def found(self, trial: Trial) -> Found:
        """Wait for what a client saw."""
        running, place = self._found[trial.key]
        found = running.result()[place]
        assert "error" not in found, found["error"]
        return found

    def _run(self, trials: list[Trial]) -> list[Found]:
        client = trials[0].client
        done = subprocess.run(  # noqa: S603 - our own command
            [*self._command_of(client), json.dumps([self._job(trial) for trial in trials])],
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=PROGRAM_SECONDS,
        )
        assert done.returncode == 0, done.stderr[-10_000:]
        *_, last = done.stdout.splitlines()
        found: list[Found] = json.loads(last)
        return found

    def _job(self, trial: Trial) -> dict[str, Any]:
        """Return what a program is told: a `Job` of `programs/job.py`."""
        return {
            "action": trial.action,
            "url": self._url if trial.transport == "http" else "",
            "command": [*DAGCALL, "serve", "--stdio"],
            "tool": trial.tool,
            "arguments": {"x": trial.x},
            "patience": SLOWER_PATIENCE_SECONDS if trial.is_slower else PATIENCE_SECONDS,
            "linger": LINGER_SECONDS,
            "answer": {"answer": "Approve"},
            "part": {"path": "/total", "offset": ROWS - 2, "limit": 2},
            "variant": trial.client.variant,
        }

    def _command_of(self, client: Client) -> list[str]:
        """Return what runs a client's program, in an environment that is made if it is not there yet."""
        if client.is_of_node:
            return node_project(HERE / client.environment, terminal_of(self._config)).command(client.program)
        return [str(interpreter_of(client.environment, self._config)), str(PROGRAMS / client.program)]
