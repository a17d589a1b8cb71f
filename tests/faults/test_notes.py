"""dagcall keeps what users write into a run's note."""

import asyncio

import pytest

from tests.faults.conftest import Serve, call
from tests.faults.fault_proxy import FaultProxy
from tests.faults.matrix import fault
from tests.faults.record import Json, Record, until

LONGEST_NOTE = 1000
STAYS = "the note is kept; dagcall appends its delivery mark"


async def noted(airflow: Record, x: int, count: int) -> list[Json]:
    """Wait until `count` runs have a delivery mark, and return them."""

    async def look() -> list[Json] | None:
        runs = [run for run in await airflow.runs("held") if x <= run["conf"]["x"] < x + count]
        return runs if all("(answered)" in (run["note"] or "") for run in runs) else None

    return await until(look)


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(1, id="one call", marks=fault("a user edits a run's note while a call waits", checked=STAYS)),
        pytest.param(
            12,
            id="many calls",
            marks=fault("a user edits the notes of twelve runs while their calls wait", checked=STAYS),
        ),
    ],
)
async def test_user_edits_of_a_note_are_kept(
    airflow: Record, proxy: FaultProxy, serve: Serve, x: int, *, count: int
) -> None:
    url = serve().url
    calls = [asyncio.create_task(call(url, "held", x + number)) for number in range(count)]
    runs = [await airflow.the_run("held", x + number) for number in range(count)]
    written = {
        run["dag_run_id"]: f"{run['note']}\n\nCall **Ms Sørensen** before {run['conf']['x']} goes out. " + "é" * 700
        for run in runs
    }
    await asyncio.gather(*(airflow.set_note(run, written[run["dag_run_id"]]) for run in runs))
    await asyncio.gather(*(airflow.end(run) for run in runs))
    answers = await asyncio.gather(*calls)

    assert not any(answer.is_error for answer in answers)
    assert {run["dag_run_id"]: run["note"] for run in await noted(airflow, x, count)} == {
        run_id: f"{text} (answered)" for run_id, text in written.items()
    }
    assert bool(proxy.requests("PATCH", "/dags/~/dagRuns$")) == (count > 1)  # many notes in one request


@fault("a user fills a run's note to the last character while a call waits", checked="the note is unchanged")
async def test_full_note_is_left_unchanged(airflow: Record, serve: Serve, x: int) -> None:
    url = serve().url
    full, other = (asyncio.create_task(call(url, "held", x + number)) for number in range(2))
    run = await airflow.the_run("held", x)
    text = "é" * LONGEST_NOTE
    await airflow.set_note(run, text)
    await airflow.end(run)
    assert not (await full).is_error
    await airflow.end(await airflow.the_run("held", x + 1))
    assert not (await other).is_error

    await noted(airflow, x + 1, 1)  # by then dagcall has processed both
    assert (await airflow.the_run("held", x))["note"] == text
