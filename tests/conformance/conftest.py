"""One demo for the whole suite: a real Airflow with the fixture dags, and dagcall in front of it on two transports."""

from collections.abc import Iterator

import pytest

from tests.conformance.findings import Findings
from tests.conformance.serving import DAGS, Serving, serving
from tests.conformance.suite import PROJECT
from tests.e2e.running_demo import RunningDemo, running_demo
from tests.support.node import NodeProject, node_project
from tests.support.terminal import terminal_of


@pytest.fixture(scope="package")
def suite(request: pytest.FixtureRequest) -> NodeProject:
    return node_project(PROJECT, terminal_of(request.config))


@pytest.fixture(scope="package")
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    dags = {path.name: path.read_text() for path in DAGS.glob("*.py")}
    with running_demo(tmp_path_factory.mktemp("conformance"), dags, tell=terminal_of(request.config)) as running:
        yield running


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
