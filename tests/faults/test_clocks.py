"""dagcall's clock is an hour ahead of Airflow's, or behind it."""

from datetime import UTC, datetime, timedelta

import pytest
from mcp import Client

from dagcall.app import assembled
from dagcall.settings.settings import Settings
from tests.faults.matrix import fault
from tests.faults.record import Record
from tests.support.running_demo import RunningDemo


@fault("dagcall's clock is an hour ahead of Airflow's, or behind it")
@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1)])
async def test_run_is_not_delayed_by_dagcalls_clock(
    airflow: Record, demo: RunningDemo, x: int, ahead: timedelta
) -> None:
    """Airflow does not start the tasks of a run before its logical date."""
    settings = Settings.model_validate(
        {
            "airflow": {"url": demo.airflow_url, "username": "admin", "password": demo.admin_password},
            "tools": [{"dag": "add"}],
        }
    )

    def own_clock() -> datetime:
        return datetime.now(UTC) + ahead  # noqa: TID251 - this is the clock

    async with assembled(settings, wait_seconds=60, wall_clock=own_clock) as dagcall:
        await dagcall.catalog.refresh()
        async with Client(dagcall.mcp.sdk) as client:
            result = await client.call_tool("add", {"x": x})

    assert result.structured_content is not None
    assert result.structured_content["state"] == "success"
    await airflow.require_one_run("add", x, [result])
