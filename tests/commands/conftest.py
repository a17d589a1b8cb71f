"""One demo for all tests of commands."""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import DAGS
from tests.support.running_demo import RunningDemo, running_demo
from tests.support.terminal import terminal_of


@pytest.fixture(scope="package")
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """A running demo with one dag of its user. It also contains the runs of other tests."""
    own_dags = [DAGS / "factorial.py"]
    with running_demo(tmp_path_factory.mktemp("demo"), own_dags, tell=terminal_of(request.config)) as running:
        yield running
