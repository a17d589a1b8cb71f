"""`dagcall` that writes its resources to the file named by SOAK_REPORT on SIGUSR1."""

import asyncio
import gc
import json
import os
import signal
import threading
from pathlib import Path
from types import FrameType

from dagcall.__main__ import main

REPORT = Path(os.environ["SOAK_REPORT"])  # noqa: TID251 - a process of a test


def report(_number: int, _frame: FrameType | None) -> None:
    """Write the names of the asyncio tasks and the number of threads, once garbage is collected."""
    gc.collect()
    tasks = [item for item in gc.get_objects() if isinstance(item, asyncio.Task) and not item.done()]
    names = sorted(getattr(task.get_coro(), "__qualname__", "?") for task in tasks)
    found = {"tasks": names, "threads": threading.active_count()}
    new = REPORT.with_suffix(".new")
    new.write_text(json.dumps(found))
    new.replace(REPORT)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, report)
    main()
