"""One demo per older version of Airflow, in place of the one of tests/e2e."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import OWN_DAGS
from tests.proof import record
from tests.support.running_demo import RunningDemo, running_demo
from tests.support.terminal import terminal_of

HERE = Path(__file__).parent
VERSIONS = ("3.1.8", "3.2.2")
BEGAN = time.monotonic()
passed: Counter[str] = Counter()
"""Version -> how many tests have passed on it."""


@pytest.fixture(scope="package", params=VERSIONS)
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """A running demo with the dags of tests/e2e. It also contains the runs of other tests."""
    version: str = request.param
    command = [sys.executable, str(HERE / "older_demo.py"), version]
    command.append(str(HERE / "requirements" / f"airflow-{version}-demo.txt"))
    base = tmp_path_factory.mktemp(f"airflow-{version}")
    with running_demo(base, OWN_DAGS, terminal_of(request.config), command=command) as running:
        yield running


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        passed.update(
            version for version in VERSIONS if "tests/versions/" in report.nodeid and version in report.nodeid
        )


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    is_whole = passed.total() == session.testscollected
    if is_whole and passed.keys() == set(VERSIONS) and exitstatus == pytest.ExitCode.OK:
        record.write("versions", {"passed": dict(passed)}, seconds=time.monotonic() - BEGAN)
