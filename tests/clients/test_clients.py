"""Third-party clients of dagcall, checked against Airflow's own records.

Each client is a program in `programs/` with its own environment; `table.py` says what each can do.
"""

import asyncio

import pytest

from tests.clients.checks import CHECKS
from tests.clients.section import findings, still_passed
from tests.clients.table import Trial, trials
from tests.clients.trials import Trials
from tests.faults.record import Record
from tests.proof import record

TRIALS = list(trials())


@pytest.mark.parametrize(
    "trial", [pytest.param(each, id=each.key, marks=() if each.is_short else pytest.mark.long) for each in TRIALS]
)
async def test_client_gets_correct_answers(trial: Trial, running: Trials, airflow: Record) -> None:
    found = await asyncio.to_thread(running.found, trial)

    await CHECKS[trial.action](trial, found, airflow)

    running.passed.add(trial.key)


@pytest.mark.long
def test_kept_findings_are_complete(running: Trials) -> None:
    """Write docs/clients-tested.md and a part of docs/proof.md, as the last test of the full form.

    After a run of some clients only (`make clients ARGS="-k 'typescript or kept'"`), the other findings are kept.
    """
    before = record.read("clients")
    passed = (still_passed(before and before["findings"]) - running.begun) | running.passed
    is_part = before is not None and running.begun != {trial.key for trial in TRIALS}
    record.write("clients", findings(passed), seconds=before["seconds"] if before and is_part else running.seconds)
    assert running.begun <= running.passed
