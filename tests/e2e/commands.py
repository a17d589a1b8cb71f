"""dagcall as a command, started as a user starts it: by its name, in a folder, with an environment of its own."""

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
"""Longer than any command may take; it is there so that a hanging one fails its test."""
#: Variables of whoever runs the tests that would change what dagcall does or how it prints.
_FOREIGN = re.compile(
    r"DAGCALL_|_?AIRFLOW|PYTHON|PYTEST|VIRTUAL_ENV|XDG_DATA_HOME|COLUMNS|LINES|FORCE_COLOR|PY_COLORS|GITHUB_ACTIONS"
    r"|TTY_|_TYPER"
)


def clean_environ(**more: str) -> dict[str, str]:
    """Return this process's environment without what would reach into dagcall, and with `more`.

    Neither a demo of this machine's user nor the dags of an Airflow that had the same port before are found in it.
    """
    own = os.environ.items()  # noqa: TID251 - a child process begins with the environment of its parent
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
    """Return a port of loopback that nobody uses now."""
    (port,) = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    """Return so many different ports of loopback that nobody uses now."""
    with ExitStack() as probing:
        probes = [probing.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]
