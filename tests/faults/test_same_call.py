"""Identical calls of many callers on two processes, and keys reused with other arguments: one key, one run."""

import asyncio

from tests.faults.conftest import Mode, Serve, call
from tests.faults.matrix import fault
from tests.faults.record import Record
from tests.support.clients import text_of


@fault("twenty callers on two servers with one key, at the same time", seen="each caller: the result of the only run")
async def test_twenty_calls_with_one_key_on_two_servers_start_one_run(airflow: Record, serve: Serve, x: int) -> None:
    urls = [serve().url, serve().url]
    modes: list[Mode] = ["auto", "legacy"]

    answers = await asyncio.gather(
        *(call(urls[number % 2], "add", x, modes[number // 2 % 2], idempotency_key=f"k{x}") for number in range(20))
    )

    await airflow.require_one_run("add", x, answers)


@fault(
    "a key is reused with other arguments, on the same and on another server",
    seen="an error that names the run the key belongs to",
    checked="no second run",
)
async def test_key_reused_with_other_arguments_starts_nothing(airflow: Record, serve: Serve, x: int) -> None:
    first, second = serve().url, serve().url
    answer = await call(first, "add", x, idempotency_key=f"k{x}")

    refused = [await call(url, "add", x + 1, idempotency_key=f"k{x}") for url in (first, second)]

    run_id = await airflow.require_one_run("add", x, [answer])
    assert await airflow.runs_with("add", x + 1) == []
    for answer in refused:
        assert answer.is_error
        assert f"this idempotency key belongs to run {run_id} of dag add" in text_of(answer)


@fault(
    "two callers without a key make the same call at the same time",
    seen="each caller: the result of its own run",
    checked="two runs; each answer is the result of its own run",
)
async def test_identical_calls_of_two_waiting_callers_start_two_runs(airflow: Record, serve: Serve, x: int) -> None:
    url = serve().url

    answers = await asyncio.gather(*(call(url, "add", x) for _ in range(2)))

    runs = {run["dag_run_id"]: run for run in await airflow.runs_with("add", x)}
    assert len(runs) == 2
    assert {str((answer.structured_content or {})["dag_run_id"]) for answer in answers} == runs.keys()
    for answer in answers:
        airflow.require_answer(answer, runs[(answer.structured_content or {})["dag_run_id"]])
