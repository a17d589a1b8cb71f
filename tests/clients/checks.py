"""Checks a client's answers against Airflow's own records."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tests.clients.table import ROWS, TOOLS, Trial
from tests.clients.trials import Found
from tests.faults.record import Json, Record


async def check_list(_trial: Trial, found: Found, _airflow: Record) -> None:
    assert {*TOOLS, "wait_for_dag_run", "read_dag_result"} <= set(found["tools"])


async def check_call(trial: Trial, found: Found, airflow: Record) -> None:
    assert not found["is_error"]
    await require_the_result(trial, content_of(found), airflow)


async def check_progress(trial: Trial, found: Found, airflow: Record) -> None:
    await check_call(trial, found, airflow)
    numbers = [number for number, _ in found["progress"]]
    assert len(numbers) > 1
    assert numbers == sorted(set(numbers))
    # Three quick steps may or may not appear in the progress, depending on the timing.
    assert all(" s since the call" in message for _, message in found["progress"])


async def check_failure(trial: Trial, found: Found, airflow: Record) -> None:
    run = await airflow.the_ended_run(trial.tool, trial.x)  # the answer may arrive before the run ends
    assert run["state"] == "failed"
    assert found["is_error"] is not False
    assert f"The run {run['dag_run_id']} of dag failing " in found["texts"][-1]
    assert f"ValueError: No disk {trial.x}" in found["texts"][-1]


async def check_repeat(trial: Trial, found: Found, airflow: Record) -> None:
    """Check that there is one run, no matter how often the client gave up."""
    *gave_up, _ = found["texts"]
    assert gave_up
    await check_call(trial, found, airflow)


async def check_question(trial: Trial, found: Found, airflow: Record) -> None:
    if trial.why_not is None:
        (message,) = found["asked"]
        assert f"Add one to {trial.x}?" in message
        await check_call(trial, found, airflow)
        return
    content, run = content_of(found), await the_only_run(trial, airflow)
    assert (content["state"], content["dag_run_id"]) == ("awaiting_input", run["dag_run_id"])
    (question,) = content["questions"]
    assert question["subject"] == f"Add one to {trial.x}?"
    assert question["url"].startswith(airflow.url)


async def check_large(trial: Trial, found: Found, airflow: Record) -> None:
    """Check that the client gets a preview and can read the end."""
    content, run = content_of(found), await the_only_run(trial, airflow)
    assert (content["state"], content["dag_run_id"]) == ("success", run["dag_run_id"])
    assert content["size_bytes"] > 1_000_000
    assert content["preview"]["total"][0] == row(trial, 0)
    part = json.loads(found["part"])
    assert part["value"] == [row(trial, ROWS - 2), row(trial, ROWS - 1)]
    assert "next_offset" not in part


async def check_cancel(trial: Trial, found: Found, airflow: Record) -> None:
    """Check that dagcall set the run to failed, as `on_cancel` requests."""
    assert found["is_cancelled"]
    assert await airflow.the_ended_run("endless", trial.x, "failed")


Check = Callable[[Trial, Found, Record], Awaitable[None]]
CHECKS: Mapping[str, Check] = {
    "list": check_list,
    "call": check_call,
    "progress": check_progress,
    "failure": check_failure,
    "repeat": check_repeat,
    "question": check_question,
    "large": check_large,
    "cancel": check_cancel,
}


def content_of(found: Found) -> dict[str, Any]:
    """Return the structured content, which the model reads as text."""
    content: dict[str, Any] = json.loads(found["texts"][-1])
    return content


def row(trial: Trial, number: int) -> Json:
    """Return a row of the result of `large`."""
    return {"row": number, "x": trial.x, "text": "é" * 20}


async def the_only_run(trial: Trial, airflow: Record) -> Json:
    """Return the run of a trial, and check that it is the only one."""
    (run,) = await airflow.runs_with(trial.tool, trial.x)
    return run


async def require_the_result(trial: Trial, content: dict[str, Any], airflow: Record) -> None:
    """Check that an answer is the result of the only run."""
    run = await the_only_run(trial, airflow)
    assert (run["state"], await airflow.xcom(run)) == ("success", trial.x + 1)
    assert (content["state"], content["dag_run_id"]) == ("success", run["dag_run_id"])
    assert content["results"] == {"total": trial.x + 1}
