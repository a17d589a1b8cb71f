"""dagcall with a wrong clock: `python -m tests.chaos.off_clock SECONDS serve …`."""

import sys
from datetime import UTC, datetime, timedelta

import time_machine

from dagcall.__main__ import main

if __name__ == "__main__":
    off = timedelta(seconds=float(sys.argv.pop(1)))
    with time_machine.travel(datetime.now(UTC) + off, tick=True):  # noqa: TID251 - the real time is the starting point
        main()
