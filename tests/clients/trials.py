"""Runs the programs of the clients with their own interpreters."""

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
from tests.support.commands import DAGCALL
from tests.support.environments import interpreter_of
from tests.support.node import node_project
from tests.support.terminal import terminal_of

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
PROGRAM_SECONDS = 600.0
AT_ONCE = 3
"""Programs that run in parallel, each with up to four jobs; most of the time they wait."""
PATIENCE_SECONDS = 5.0
"""Less than `slow` takes, and more than the second after which dagcall treats an identical call as a repeat."""
SLOWER_PATIENCE_SECONDS = 15.0
"""The same for `slower`, and enough to start dagcall over stdio on a busy machine."""
LINGER_SECONDS = 6.0
"""Longer than dagcall waits for a caller to come back before it sets a run to failed."""

Found = dict[str, Any]


class Trials:
    """Runs the trials; those of one client over one transport run together.

    Args:
        url: the URL of a running dagcall.
        environ: the environment of the programs and of dagcall over stdio.
        config: pytest's configuration, for messages on the terminal.
    """

    def __init__(self, url: str, environ: Mapping[str, str], config: pytest.Config) -> None:
        self._url = url
        self._environ = environ
        self._config = config
        self._began = time.monotonic()
        self._threads = ThreadPoolExecutor(AT_ONCE)
        self._found: dict[str, tuple[Future[list[Found]], int]] = {}
        self.passed: set[str] = set()
        """The keys of the trials that passed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    @property
    def seconds(self) -> float:
        """How long the trials have been running."""
        return time.monotonic() - self._began

    @property
    def begun(self) -> set[str]:
        """The keys of the trials of this run."""
        return set(self._found)

    def begin(self, trials: list[Trial]) -> None:
        """Start trials in their order, while tests check the results of earlier ones."""
        for _, group in groupby(trials, key=lambda trial: (trial.client.key, trial.transport)):
            together = list(group)
            running = self._threads.submit(self._run, together)
            self._found |= {trial.key: (running, place) for place, trial in enumerate(together)}

    def found(self, trial: Trial) -> Found:
        """Wait for the results of a trial."""
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
        """Return the input of a program: a `Job` of `programs/job.py`."""
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
        """Return the command that runs a client's program; create its environment if it does not exist yet."""
        if client.is_of_node:
            return node_project(HERE / client.environment, terminal_of(self._config)).command(client.program)
        return [str(interpreter_of(client.environment, self._config)), str(PROGRAMS / client.program)]
