"""One demo for the packages that need a real Airflow with their dags, and what runs where in `make test`."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from coverage import Coverage
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.e2e.conftest import OWN_DAGS
from tests.support.running_demo import RunningDemo, running_demo
from tests.support.shared_demo import shared_demo
from tests.support.terminal import terminal_of

HERE = Path(__file__).parent
IN_TURN = (
    *("commands/", "contract/", "auth_managers/", "dag_files/", "chaos/", "e2e/test_people_before_3_3"),
    *("processes/", "packaging/", "fuzz/", "clients/", "conformance/", "faults/", "e2e/"),
)
"""The order of the tests that take minutes: first the largest pieces, last those that share a demo."""
IN_ONE_PROCESS = {"commands", "contract", "packaging"}
"""Packages whose files share what is expensive to start."""
DEMO_DAGS = [
    *OWN_DAGS,
    *(
        HERE / package / "dags" / f"{name}_dags.py"
        for package, name in (("faults", "fault"), ("clients", "client"), ("conformance", "conformance"))
    ),
]


@pytest.fixture(scope="session")
def demo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Iterator[RunningDemo]:
    """A running demo with the dags of four packages. It also contains the runs of other tests."""
    base = tmp_path_factory.mktemp("demo")
    with shared_demo(
        base.parent if worker_id == "master" else base.parent.parent,
        lambda: running_demo(base, DEMO_DAGS, terminal_of(request.config)),
    ) as running:
        yield running


def path_of(nodeid: str) -> str:
    """Return the path of a test below `tests`."""
    return nodeid.partition("tests/")[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        path = path_of(item.nodeid)
        return next((place for place, begin in enumerate(IN_TURN) if path.startswith(begin)), 0)

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test whose mark is `untraced` without measuring coverage, which would double its time."""
    measuring = Coverage.current() if item.get_closest_marker("untraced") else None
    if measuring is None:
        return (yield)
    measuring.stop()
    try:
        return (yield)
    finally:
        measuring.start()


class ByFileOrPackage(LoadFileScheduling):  # type: ignore[misc]
    """Gives each process a file after another, or a package whose files belong together."""

    def _split_scope(self, nodeid: str) -> str:
        package = path_of(nodeid).partition("/")[0]
        return package if package in IN_ONE_PROCESS else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return one more than there are cores, because tests also wait."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    return ByFileOrPackage(config, log) if config.getoption("dist") == "loadfile" else None
