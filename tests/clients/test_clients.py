"""What clients that others wrote see of dagcall, held against Airflow's own record.

Each client is a program in `programs/`, run in an environment of its own; `table.py` says what each can do.
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
async def test_client(trial: Trial, running: Trials, airflow: Record) -> None:
    found = await asyncio.to_thread(running.found, trial)

    await CHECKS[trial.action](trial, found, airflow)

    running.passed.add(trial.key)


@pytest.mark.long
def test_what_was_found_is_kept(running: Trials) -> None:
    """The last test of the whole form: it writes docs/clients-tested.md, and a part of docs/proof.md.

    Of a run of some clients only (`make clients ARGS="-k 'typescript or kept'"`), the rest stays as it was.
    """
    before = record.read("clients")
    passed = (still_passed(before and before["findings"]) - running.begun) | running.passed
    is_part = before is not None and running.begun != {trial.key for trial in TRIALS}
    record.write("clients", findings(passed), seconds=before["seconds"] if before and is_part else running.seconds)
    assert running.begun <= running.passed
