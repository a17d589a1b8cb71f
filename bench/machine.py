"""What it ran on, and what a process uses. Linux says so; elsewhere there is no figure."""

import contextlib
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.table import NotMeasured
from dagcall.demo.installation import AIRFLOW_VERSION
from dagcall.demo.process_table import family, process_table

NOT_LINUX = NotMeasured("only Linux says so of another process")


def facts() -> dict[str, Any]:
    """Return what a reader needs to judge the figures."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count() if sys.platform == "darwin" else len(os.sched_getaffinity(0)),
        "memory": f"{memory / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "mcp": version("mcp"),
        "airflow": AIRFLOW_VERSION,
        "dagcall": version("dagcall"),
    }


def is_linux() -> bool:
    """Say whether other processes can be measured here: from `/proc`, and by their CPU clocks."""
    return sys.platform == "linux"


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and of those of its family that run now, in user and system mode.

    From the processes' own clocks: `/proc/<pid>/stat` counts hundredths of a second, which is ten calls.
    """
    seconds = 0.0
    for row in family(process_table(), pid):
        with contextlib.suppress(OSError):  # it ended just now
            seconds += time.clock_gettime(_cpu_clock(row.pid))
    return seconds


def _cpu_clock(pid: int) -> int:
    """Return the id of a process's CPU clock on Linux, as clock_getcpuclockid(3) makes it."""
    return (~pid << 3) | 2


def resident_kib(pid: int) -> float:
    """Return the resident memory of one process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024
