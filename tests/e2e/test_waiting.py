"""Runs that wait forever, dags that would do nothing, and missing dags, on a real Airflow."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.support.clients import connected, text_of
from tests.support.commands import run_dagcall
from tests.support.running_demo import RunningDemo

SECONDS = 120
FOR_A_WHILE: Any = {"dagcall/wait_seconds": 10}
"""Long enough for runs that can start."""


async def message(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments, meta=FOR_A_WHILE)
    assert isinstance(result.structured_content, dict), text_of(result)
    assert result.structured_content["state"] == "running"
    return str(result.structured_content["message"])


async def test_run_that_waits_for_an_earlier_run_is_explained(demo: RunningDemo, tmp_path: Path) -> None:
    seen: list[str] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        assert total is None or progress <= total
        seen.append(message or "")

    async with asyncio.timeout(SECONDS), connected(demo, "http 2026-07-28", tmp_path / "errors") as client:
        failed = await client.call_tool("one_after_the_other", {"fail": True})
        assert "ValueError: as asked" in text_of(failed)
        told = await message(client, "one_after_the_other")
        await client.call_tool("one_after_the_other", {"fail": False}, meta=FOR_A_WHILE, progress_callback=on_progress)

    why = (
        "task load cannot start: depends_on_past is true for this task, but 1 previous task instance(s) are not in a "
        "successful state"
    )
    assert told.startswith(f"The run goes on (running: 0 of 2 tasks done; {why}). Call wait_for_dag_run ")
    assert any(f"0 of 2 tasks done; {why}" in line for line in seen), seen


async def test_run_with_a_missing_pool_is_explained(demo: RunningDemo, tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS), connected(demo, "http 2026-07-28", tmp_path / "errors") as client:
        told = await message(client, "without_a_pool")

    why = "task compute[0] cannot start: Tasks using non-existent pool 'no_such_pool' will not be scheduled"
    assert told.startswith(
        "The run goes on (running: 0 of 2 tasks done; waiting for the scheduler (pool no_such_pool) "
    )
    assert f"compute[0], compute[1]; {why}). " in told


def allowing(demo: RunningDemo, folder: Path, *entries: str) -> Path:
    """Write settings for this demo's Airflow with these tool entries, and return their folder."""
    return demo.allowing(folder, "".join(f"[[tools]]\n{entry}\n" for entry in entries)).parent


def test_dags_without_effect_are_withheld_and_import_errors_are_named(demo: RunningDemo, tmp_path: Path) -> None:
    folder = allowing(demo, tmp_path, *(f'dag = "{d}"' for d in ("not_yet", "not_yet_whole", "regional_report")))
    done = run_dagcall("tools", "--json", environ=demo.environ, folder=folder)

    hint = (
        ' Change the dates in the dag, or set logical_date = "none" in its [[tools]] entry: Airflow then ignores them'
    )
    start = "its start_date is 2099-01-01T00:00:00+00:00"
    assert {item["what"]: item["reason"] for item in json.loads(done.stdout)["withheld"]} == {
        "not_yet": f"its runs would leave out what makes the result (task 'work': {start}).{hint}",
        "not_yet_whole": f"its runs would leave out what makes the result (task 'work_later': {start}).{hint}",
        "regional_report": (
            "there is no such dag in Airflow, or dagcall's account may not see it. The file regional_report.py does "
            "not import in Airflow: ModuleNotFoundError: No module named 'no_such_package'"
        ),
    }


@pytest.mark.parametrize("dag_id", ["not_yet", "not_yet_whole"])
def test_start_dates_are_ignored_without_a_logical_date(demo: RunningDemo, tmp_path: Path, dag_id: str) -> None:
    folder = allowing(demo, tmp_path, f'dag = "{dag_id}"\nlogical_date = "none"')
    done = run_dagcall("call", dag_id, environ=demo.environ, folder=folder)
    assert list(json.loads(done.stdout)["results"].values()) == ["the work was done"], done.stderr
