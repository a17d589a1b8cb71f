"""Which tests share an Airflow, for those who run several processes of tests at once (pytest-xdist)."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
FREE = "unit"
"""Its tests share nothing."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a folder in one process, so that each Airflow is started once."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder != FREE:
            item.add_marker(pytest.mark.xdist_group(folder))
