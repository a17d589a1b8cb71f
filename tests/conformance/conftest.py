"""One dagcall for the whole suite, on two transports."""

from collections.abc import Iterator

import pytest

from tests.conformance.findings import Findings
from tests.conformance.serving import Serving, serving
from tests.conformance.suite import PROJECT
from tests.support.node import NodeProject, node_project
from tests.support.running_demo import RunningDemo
from tests.support.terminal import terminal_of


@pytest.fixture(scope="package")
def suite(request: pytest.FixtureRequest) -> NodeProject:
    return node_project(PROJECT, terminal_of(request.config))


@pytest.fixture(scope="package")
def served(demo: RunningDemo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(demo, tmp_path_factory.mktemp("settings")) as addresses:
        yield addresses


@pytest.fixture(scope="package")
def found() -> Iterator[Findings]:
    """The findings of the full form, stored at the end."""
    findings = Findings()
    yield findings
    findings.keep()
