"""Failure reports for every kind of failed run, on a real Airflow."""

import asyncio
from pathlib import Path

import httpx
import pytest
from mcp import Client

from tests.support.clients import connected, text_of
from tests.support.plain_http import PLAIN
from tests.support.running_demo import RunningDemo

LONGEST_SECONDS = 240.0
AGAIN_FAILS = "Calling again with the same arguments starts a new run, which will probably fail in the same way."
MAY_HELP = "Calling again starts a new run and may help: this kind of failure is often temporary."
PREPARED = "Already succeeded, and is not undone: prepare."
WORK_NOT_RUN = "Not run, because an earlier task failed: work."

FAILURES: dict[str, list[str]] = {
    "fails_in_the_middle": [
        "Task look_up failed on try 1 of 1: ValueError: no region named north (api_key=***)",
        "  It began with KeyError: 'north'",
        "  Raised in dags/failures.py, line 42, in look_up",
        "  The end of its log:",
        "    WARNING the answer was Bearer ***",
        PREPARED,
        WORK_NOT_RUN,
        AGAIN_FAILS,
    ],
    "fails_in_a_group": [
        "Task gather failed on try 1 of 1: ExceptionGroup: two things went wrong (2 sub-exceptions)",
        "  It began with TimeoutError: the first; ValueError: the second",
        AGAIN_FAILS,
    ],
    "fails_by_exit": [
        "Task give_up failed on try 1 of 1: its process ended with exit code 7",
        "Calling again starts a new run.",
    ],
    "fails_by_other_exits": [
        "Task leave_early failed on try 1 of 1: it called sys.exit(0), which Airflow counts as a failure",
        "Task leave_silently failed on try 1 of 1: it called sys.exit(0), which Airflow counts as a failure",
        "Task leave_with_words failed on try 1 of 1: it called sys.exit: no region, password=***",
        "Task drop_out failed on try 1 of 1: its process ended with exit code 9",
        "Task interrupt failed on try 1 of 1: KeyboardInterrupt",
        AGAIN_FAILS,
    ],
    "fails_before_it_begins": [
        (
            "Task measure failed on try 1 of 1: ParamValidationError: Invalid input for param region: "
            "No value passed and Param has no default value"
        ),
        AGAIN_FAILS,
    ],
    "fails_with_its_callback": [
        "Task divide failed on try 1 of 1: ZeroDivisionError: division by zero",
        AGAIN_FAILS,
    ],
    "fails_mapped": [
        (
            "Task count_down failed in 6 of its 12 instances (map indexes 0, 2, 4, 6, 8, 10) on try 1 of 1: "
            "ZeroDivisionError: integer division or modulo by zero"
        ),
        "Task add_up failed on try 1 of 1: LookupError: some counts are missing",
        "Already succeeded, and is not undone: count_down (6 of 12 instances).",
        AGAIN_FAILS,
    ],
    "fails_slow_task": [
        "Task sleep_long failed on try 1 of 1: it took longer than its execution_timeout allows (AirflowTaskTimeout)",
        MAY_HELP,
    ],
    "fails_slow_run": [
        "It exceeded the dag's dagrun_timeout, so Airflow stopped it and skipped the remaining tasks.",
        MAY_HELP,
    ],
    "fails_killed": [
        "Task die failed on try 1 of 1: SIGKILL ended its process, most likely because memory ran out",
        MAY_HELP,
    ],
    "fails_for_good": [
        "Task refuse failed on try 1 of 3, and is not tried again: AirflowFailException: the account is closed",
        AGAIN_FAILS,
    ],
    "fails_beside_a_skip": [
        "Task connect failed on try 1 of 1: ConnectionRefusedError: [Errno 111] Connection refused",
        "Skipped: skip.",
        MAY_HELP,
    ],
    "fails_in_a_shell": [
        (
            "Task shell failed on try 1 of 1: AirflowException: Bash command failed. "
            "The command returned a non-zero exit code 3."
        ),
        "Calling again starts a new run.",
    ],
}
"""Lines in the report for each dag of `dags/failures.py`, in this order, between the first and the last line."""
ENDING = "is about to end without its result."
"""Reported for a run that Airflow has not ended yet, although none of its tasks can still run."""
SECRETS = ("hunter2hunter2", "correct-horse-battery", "a1B2a1B2", "abcdefgh12345678")


@pytest.mark.parametrize("connection", ["http 2026-07-28", "stdio 2025-11-25"])
async def test_failure_report_explains_each_failure(demo: RunningDemo, connection: str, tmp_path: Path) -> None:
    async with (
        asyncio.timeout(LONGEST_SECONDS),
        connected(demo, connection, tmp_path / "stderr", allowed="fails_*") as client,
    ):
        texts = await asyncio.gather(*(failure(client, tool) for tool in FAILURES))

    for (tool, expected), text in zip(FAILURES.items(), texts, strict=True):
        first, *lines, last = text.splitlines()
        assert first.startswith("The run mcp__"), text
        assert first.partition(f" of dag {tool} ")[2] in {"failed.", ENDING}, text
        assert last.startswith(f"For people: {demo.airflow_url}/dags/{tool}/runs/mcp__"), text
        assert [line for line in lines if line in expected] == expected, text
        assert not [secret for secret in SECRETS if secret in text], text
        assert "\x1b" not in text
        assert "[31m" not in text


async def failure(client: Client, tool: str) -> str:
    result = await client.call_tool(tool, {})
    assert result.is_error
    assert result.structured_content is None
    return text_of(result)


async def test_run_set_to_failed_by_a_user_is_reported(demo: RunningDemo, tmp_path: Path) -> None:
    async with (
        asyncio.timeout(LONGEST_SECONDS),
        connected(demo, "http 2026-07-28", tmp_path / "stderr") as client,
        asyncio.TaskGroup() as group,
    ):
        call = group.create_task(failure(client, "fails_by_hand"))
        await asyncio.to_thread(end_when_it_sleeps, demo)
        lines = (await call).splitlines()

    stopped = "Task sleep_on failed on try 1 of 1: its state was set to failed from outside while it ran"
    last = "It was probably stopped on purpose: find out why before calling again."
    assert lines[1] == stopped
    assert lines[-4:-1] == [PREPARED, "Skipped: work.", last]


def end_when_it_sleeps(demo: RunningDemo) -> None:
    """Set the run to failed in Airflow once its second task is running."""
    with httpx.Client(base_url=demo.airflow_url, trust_env=False, verify=PLAIN, timeout=30) as http:
        user = {"username": "admin", "password": demo.admin_password}
        token = http.post("/auth/token", json=user).raise_for_status().json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        runs = "/api/v2/dags/fails_by_hand/dagRuns"
        while True:
            asked = {"task_id": "sleep_on", "state": "running"}
            found = http.get(f"{runs}/~/taskInstances", params=asked).raise_for_status().json()["task_instances"]
            if found:
                http.patch(f"{runs}/{found[0]['dag_run_id']}", json={"state": "failed"}).raise_for_status()
                return
