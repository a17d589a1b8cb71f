"""Runs dagcall's commands as a user does, in a folder and with a clean environment."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

DAGCALL = [sys.executable, "-m", "dagcall"]
COMMAND_SECONDS = 120.0
"""Longer than any command takes, so that a hanging command fails its test."""
#: Variables in the developer's environment that would change what dagcall does or prints.
_FOREIGN = re.compile(
    r"DAGCALL_|_?AIRFLOW|PYTHON|PYTEST|VIRTUAL_ENV|XDG_DATA_HOME|COLUMNS|LINES|FORCE_COLOR|PY_COLORS|GITHUB_ACTIONS"
    r"|TTY_|_TYPER"
)


def clean_environ(**more: str) -> dict[str, str]:
    """Return this process's environment without the variables that affect dagcall, plus `more`.

    dagcall finds neither the developer's demo nor dags remembered from an earlier Airflow on the same port.
    """
    own = os.environ.items()  # noqa: TID251 - a child process starts with its parent's environment
    clean = {name: value for name, value in own if not _FOREIGN.match(name)}
    return clean | {"XDG_DATA_HOME": os.devnull, "DAGCALL_REMEMBER": "false"} | more


def run_dagcall(
    *words: str, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `dagcall WORDS…` to its end, with no stdin."""
    return subprocess.run(  # noqa: S603 - our own command
        [*DAGCALL, *words],
        env=clean_environ() if environ is None else environ,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_SECONDS,
    )


def free_port() -> int:
    """Return a free port of the loopback interface."""
    (port,) = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    """Return `count` different free ports of the loopback interface."""
    with ExitStack() as probing:
        probes = [probing.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]
