"""The bench's own Airflow answers what dagcall asks today."""

import asyncio
import logging
from datetime import UTC, datetime

import pytest
from bench.instant_server import InstantAirflow, own_ms_per_call

from dagcall.airflow import Run, RunState
from dagcall.app import assembled
from dagcall.runs import Call, Listener
from dagcall.settings.settings import Settings


async def test_instant_airflow_answers_whole_calls(caplog: pytest.LogCaptureFixture) -> None:
    account = {"url": "http://airflow.test", "username": "admin", "password": "admin"}
    settings = Settings.model_validate({"airflow": account, "tools": [{"dags": "double_*"}]})
    with caplog.at_level(logging.INFO):
        async with assembled(settings, wait_seconds=5.0, transport=InstantAirflow(1)) as dagcall:
            await dagcall.catalog.refresh()
            tool = dagcall.catalog.tool("double_0")
            answers = []
            for n in range(3):
                listener = Listener(asyncio.get_running_loop().time() + 5.0)
                answer = await dagcall.runs.call(Call(tool, {"n": n}, "someone", listener))
                assert answer.results == {"double": {"double": 2 * n}}
                answers.append(answer)
            # What the delivery marks read.
            times = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
            runs = [
                Run("double_0", answer.run_id, RunState.SUCCESS, {}, run_after, None, "")
                for answer, run_after in zip(answers, times, strict=False)
            ]
            notes = await dagcall.waiter.api.fetch_notes(runs)
            assert len(notes) == 2
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_cost_of_the_instant_airflow_can_be_measured() -> None:
    assert await own_ms_per_call(calls=10) >= 0.0
