"""The resources of a process, and which of them have grown."""

import json
import os
import signal
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.machine import resident_kib

from dagcall.airflow.gate import DEFAULT_CEILING

GROWTH = 1.10
"""The memory of recent calls has limits that are not reached within fifteen minutes."""
REPORT_SECONDS = 30.0
LOOKS = 5
"""How often to look, a second apart: a background loop that is at work at that moment has more tasks."""


@dataclass(frozen=True)
class Levels:
    """The resources of an idle dagcall, and its rows in Airflow."""

    memory_kib: float
    files: int
    tasks: tuple[str, ...]
    """The names of the coroutines of its asyncio tasks."""
    threads: int
    runs: int
    """Dag runs in Airflow."""
    log_rows: int
    """Rows in Airflow's audit log."""

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "tasks": len(self.tasks)}


def of_process(pid: int, report: Path) -> dict[str, Any]:
    """Ask an `observed` process several times what it holds, and return the answer with the fewest tasks."""
    looks = []
    for _ in range(LOOKS):
        looks.append(_look(pid, report))
        time.sleep(1.0)
    return min(looks, key=lambda look: len(look["tasks"]))


def _look(pid: int, report: Path) -> dict[str, Any]:
    report.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    give_up_at = time.monotonic() + REPORT_SECONDS
    while not report.exists():
        assert time.monotonic() < give_up_at, "dagcall does not report its resources"
        time.sleep(0.05)
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    found = json.loads(report.read_text())
    return {
        "memory_kib": resident_kib(pid),
        "files": files,
        "threads": found["threads"],
        "tasks": tuple(found["tasks"]),
    }


def grown(before: Levels, after: Levels) -> list[str]:
    """Return a description of each resource that has grown."""
    found = [
        f"{name}: {was} before, {now} after"
        for name, was, now, spare in (
            ("open files", before.files, after.files, DEFAULT_CEILING),  # connections to Airflow are kept for a while
            ("threads", before.threads, after.threads, 0),
        )
        if now > was + spare
    ]
    if more := Counter(after.tasks) - Counter(before.tasks):
        found.append(f"asyncio tasks that were not there before: {dict(more)}")
    if after.memory_kib > before.memory_kib * GROWTH:
        found.append(f"memory: {before.memory_kib:,.0f} KiB before, {after.memory_kib:,.0f} KiB after")
    return found


def rows_a_run(before: Levels, after: Levels) -> float:
    """Return how many rows each run has added to Airflow's audit log."""
    return (after.log_rows - before.log_rows) / max(1, after.runs - before.runs)
