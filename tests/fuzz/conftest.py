"""Stores the numbers of `make fuzz` for docs/proof.md."""

import time

import pytest

from tests.fuzz.effort import FACTOR, counts
from tests.proof import record

BEGAN = time.monotonic()


def pytest_sessionfinish(exitstatus: int) -> None:
    if FACTOR > 1 and exitstatus == pytest.ExitCode.OK:
        record.write("fuzz", {"tried": dict(counts)}, seconds=time.monotonic() - BEGAN)
