"""One demo for all tests of commands."""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import DAGS
from tests.support.running_demo import RunningDemo, running_demo
from tests.support.terminal import terminal_of

OWN_DAG = "factorial.py"


@pytest.fixture(scope="package")
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """A running demo with one dag of its user. It also contains the runs of other tests."""
    own_dags = {OWN_DAG: (DAGS / OWN_DAG).read_text()}
    with running_demo(tmp_path_factory.mktemp("demo"), own_dags, tell=terminal_of(request.config)) as running:
        yield running
