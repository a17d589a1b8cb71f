"""One demo for the packages that bring their own dagcalls and only need a real Airflow with their dags."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running_demo import RunningDemo, running_demo
from tests.support.terminal import terminal_of

OWN_DAGS = [
    Path(__file__).parent / package / "dags" / f"{name}_dags.py"
    for package, name in (("faults", "fault"), ("clients", "client"), ("conformance", "conformance"))
]


@pytest.fixture(scope="session")
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """A running demo with the dags of tests/faults, tests/clients and tests/conformance."""
    with running_demo(tmp_path_factory.mktemp("demo"), OWN_DAGS, tell=terminal_of(request.config)) as running:
        yield running
