"""The processes of this machine, and which of them belong together.

Airflow's processes start further processes, and a task leaves its parent's process group, so only the session and the
chain of parents identify them. On Linux, this reads `/proc`, because small images lack `ps`; elsewhere it runs `ps`.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# Fields of /proc/<pid>/stat after the name, which may contain spaces and parentheses; see man 5 proc.
STATE, PARENT, GROUP, SESSION, STARTED = 0, 1, 2, 3, 19


@dataclass(frozen=True)
class ProcessRow:
    """One process of this machine that is not a zombie."""

    pid: int
    parent: int
    group: int
    session: int
    started: str
    """The start time in the system's notation; together with the pid it identifies a process permanently."""


def process_table() -> list[ProcessRow]:
    """Return all running processes."""
    return linux_table() if sys.platform == "linux" else ps_table()


def linux_table(proc: Path = Path("/proc")) -> list[ProcessRow]:
    """Read the table from `/proc`."""
    rows = []
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it has just ended
            row = row_from_stat((folder / "stat").read_text(errors="replace"))
            rows += [row] if row else []
    return rows


def row_from_stat(text: str) -> ProcessRow | None:
    """Return the process of a `/proc/<pid>/stat`; None for one that has ended."""
    pid, _, _ = text.partition(" ")
    fields = text.rpartition(")")[2].split()
    if fields[STATE] in "ZX":
        return None
    return ProcessRow(int(pid), int(fields[PARENT]), int(fields[GROUP]), int(fields[SESSION]), fields[STARTED])


def ps_table() -> list[ProcessRow]:
    """Run `ps` with options that macOS and the BSDs support."""
    columns = "pid=,ppid=,pgid=,stat=,lstart="
    ps = ["ps", "-A", "-o", columns]
    text = subprocess.run(ps, capture_output=True, text=True, check=True).stdout  # noqa: S603
    rows = []
    for line in text.splitlines():
        pid, parent, group, state, started = line.split(maxsplit=4)
        with contextlib.suppress(OSError):
            if not state.startswith("Z"):
                rows.append(ProcessRow(int(pid), int(parent), int(group), os.getsid(int(pid)), started.strip()))
    return rows


def family(table: Iterable[ProcessRow], leader: int) -> list[ProcessRow]:
    """Return the processes of the session of `leader`, and all their descendants."""
    rows = list(table)
    found = {row.pid: row for row in rows if leader in (row.pid, row.session)}
    while grown := [row for row in rows if row.parent in found and row.pid not in found]:
        found |= {row.pid: row for row in grown}
    return list(found.values())


def still_running(rows: Iterable[ProcessRow]) -> list[ProcessRow]:
    """Return the processes of `rows` that still run; a reused pid does not count."""
    now = {(row.pid, row.started) for row in process_table()}
    return [row for row in rows if (row.pid, row.started) in now]


def send(rows: Iterable[ProcessRow], number: signal.Signals) -> None:
    """Send a signal to each of `rows` that still runs."""
    for row in still_running(rows):
        with contextlib.suppress(ProcessLookupError):
            os.kill(row.pid, number)
