"""The official conformance suite of MCP on dagcall with a real Airflow; `make conformance` runs all of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.expected import differences, read
from tests.conformance.findings import Findings, counts, in_words
from tests.conformance.serving import Serving
from tests.conformance.suite import PARTS, SHORT, Check, Part, run_part
from tests.support.node import NodeProject
from tests.support.terminal import terminal_of

Run = Callable[[Part], list[Check]]


@pytest.fixture
def run(suite: NodeProject, served: Serving, tmp_path: Path) -> Run:
    """Return a function that runs a part of the suite."""
    return lambda part: run_part(suite, part, url=served.of(part.transport), folder=tmp_path)


@pytest.mark.parametrize("part", SHORT, ids=lambda part: part.name)
def test_most_important_scenarios_have_the_expected_results(part: Part, run: Run) -> None:
    assert differences({part.name: run(part)}, read(), scenarios=part.scenarios) == []


@pytest.mark.long
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_all_scenarios_have_the_expected_results(
    part: Part, run: Run, found: Findings, request: pytest.FixtureRequest
) -> None:
    checks = run(part)
    terminal_of(request.config)(f"{part.name}: {in_words(counts(checks))}")
    assert differences({part.name: checks}, read()) == []
    found.parts[part.name] = checks
