"""One demo for all end-to-end tests: a real Airflow with dagcall in front of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running_demo import RunningDemo, running_demo
from tests.support.terminal import terminal_of

DAGS = Path(__file__).parent / "dags"
OWN_DAGS = (
    *("arguments.py", "asking.py", "doc_block.py", "early.py", "factorial.py", "failures.py", "large.py"),
    *("regional_report.py", "shapes.py", "waiting.py"),
)
"""The dag files that exist from the start."""


@pytest.fixture(scope="package")
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """A running demo with `OWN_DAGS` as its user's dags. It also contains the runs of other tests."""
    own_dags = [DAGS / name for name in OWN_DAGS]
    with running_demo(tmp_path_factory.mktemp("demo"), own_dags, tell=terminal_of(request.config)) as running:
        yield running
