"""The programs of the clients, run by their own interpreters, a few at a time."""

import json
import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import pytest

from tests.clients.table import Client, Trial
from tests.e2e.commands import DAGCALL
from tests.e2e.environments import interpreter_of
from tests.node import node_project
from tests.terminal import terminal_of

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
AT_ONCE = 3
"""Most of the time a program waits."""
TRIAL_SECONDS = 240.0
PATIENCE_SECONDS = 5.0
"""Less than `slow` takes, and more than the second after which the same call is taken for a repeat."""
LINGER_SECONDS = 6.0
"""More than dagcall gives a caller to come back before it ends a run."""
Found = dict[str, Any]


class Trials:
    """Runs them.

    Args:
        url: of a running dagcall.
        environ: of another one, over stdio, and of the programs.
        config: whose terminal is told.
    """

    def __init__(self, url: str, environ: Mapping[str, str], config: pytest.Config) -> None:
        self._url = url
        self._environ = environ
        self._config = config
        self._threads = ThreadPoolExecutor(AT_ONCE)
        self._installing = threading.Lock()
        self._commands: dict[str, list[str]] = {}
        self._began = time.monotonic()
        self.passed: set[str] = set()
        """The keys of trials in which all was right."""
        self._found: dict[str, Future[Found]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    @property
    def seconds(self) -> float:
        """For how long trials have run."""
        return time.monotonic() - self._began

    def begin(self, trial: Trial) -> None:
        """Run a trial once there is a place."""
        self._found[trial.key] = self._threads.submit(self._run, trial)

    def found(self, trial: Trial) -> Found:
        """Wait for what a client saw."""
        return self._found[trial.key].result()

    def read(self, trial: Trial, arguments: Found) -> Found:
        """Have the same client read a part of a large result."""
        return self._run(trial, action="call", tool="read_dag_result", arguments=arguments)

    def _run(self, trial: Trial, **changed: Any) -> Found:
        client = trial.client
        job = {
            "action": trial.action,
            "url": self._url if trial.transport == "http" else "",
            "command": [*DAGCALL, "serve", "--stdio"],
            "tool": trial.tool,
            "arguments": {"x": trial.x},
            "patience": PATIENCE_SECONDS,
            "linger": LINGER_SECONDS,
            "answer": {"answer": "Approve"},
            "variant": client.variant,
            **changed,
        }
        done = subprocess.run(  # noqa: S603 - our own command
            [*self._command_of(client), json.dumps(job)],
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=TRIAL_SECONDS,
        )
        assert done.returncode == 0, done.stderr[-10_000:]
        *_, last = done.stdout.splitlines()
        found: Found = json.loads(last)
        return found

    def _command_of(self, client: Client) -> list[str]:
        """Return what runs a client's program, in an environment that is made if it is not there yet."""
        with self._installing:
            if client.key not in self._commands:
                self._commands[client.key] = (
                    node_project(HERE / client.environment, terminal_of(self._config)).command(client.program)
                    if client.is_of_node
                    else [str(interpreter_of(client.environment, self._config)), str(PROGRAMS / client.program)]
                )
            return self._commands[client.key]
