"""Third-party probes of dagcall in front of a real Airflow; `make conformance` runs them."""

import pytest

from tests.conformance.findings import Findings
from tests.conformance.probes import PROBES, Probe
from tests.conformance.serving import Serving
from tests.support.environments import interpreter_of


@pytest.mark.long
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_probe_finds_no_fault(probe: Probe, served: Serving, found: Findings, request: pytest.FixtureRequest) -> None:
    programs = interpreter_of(probe.name, request.config).parent
    verdict = probe.run(programs, served)
    assert verdict.failed == []
    found.probes[probe.name] = verdict.summary
