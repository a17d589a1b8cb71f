"""The tasks extension on a real Airflow: with raw JSON, with the SDK's client, and with FastMCP's task client."""

import asyncio
import itertools
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import HEADER_MISMATCH, INVALID_PARAMS, MISSING_REQUIRED_CLIENT_CAPABILITY

from tests.support.environments import interpreter_of
from tests.support.plain_http import PLAIN
from tests.support.running_demo import RunningDemo
from tests.support.task_client import task_client

HERE = Path(__file__).parent
FASTMCP = "fastmcp-tasks-4.1.4"
LONGEST_SECONDS = 240.0
EXTENSION = "io.modelcontextprotocol/tasks"
REFUND = {"order_id": "SO-2026-T4SK", "amount": 180, "reason": "The grinder is broken."}
APPROVAL = {"answer": "Approve", "pay_only": 120, "note": "Minus the cable."}

Post = Callable[..., dict[str, Any]]


@pytest.fixture
def post(demo: RunningDemo) -> Post:
    """Return a function that sends one raw request of revision 2026-07-28 and returns the answer's JSON."""
    ids = itertools.count(1)

    def send(
        method: str, params: dict[str, Any], *, name: str | None, status: int = 200, declares: bool = True
    ) -> dict[str, Any]:
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {"extensions": {EXTENSION: {}}} if declares else {},
        }
        headers = {
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": method,
            **({"Mcp-Name": name} if name is not None else {}),
        }
        body = {"jsonrpc": "2.0", "id": next(ids), "method": method, "params": {**params, "_meta": meta}}
        with httpx.Client(trust_env=False, verify=PLAIN, timeout=60) as http:
            answer = http.post(demo.url, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    return send


async def test_task_is_polled_to_its_result_with_raw_json(demo: RunningDemo, post: Post) -> None:
    arguments = {"batches": 3, "seconds": 4}  # long enough to see the run's progress, even on a busy machine
    created = post("tools/call", {"name": "slow_steps", "arguments": arguments}, name="slow_steps")["result"]
    assert created["resultType"] == "task"
    assert (created["status"], created["ttlMs"]) == ("working", None)
    task_id = created["taskId"]
    seen = []
    async with asyncio.timeout(LONGEST_SECONDS):
        while (task := post("tasks/get", {"taskId": task_id}, name=task_id)["result"])["status"] == "working":
            seen.append(task["statusMessage"])
            await asyncio.sleep(task["pollIntervalMs"] / 1000)

    assert any("tasks done; running: " in message for message in seen), seen
    assert task["resultType"] == "complete"
    assert task["status"] == "completed"
    assert task["createdAt"] == created["createdAt"] < task["lastUpdatedAt"]
    content = task["result"]["structuredContent"]
    assert content["results"]["open_shop"]["loaves"] == 36
    assert json.loads(task["result"]["content"][0]["text"]) == content
    assert demo.runs_of("slow_steps")[content["dag_run_id"]] == "success"


def test_invalid_task_requests_are_refused(post: Post) -> None:
    created = post("tools/call", {"name": "slow_steps", "arguments": {"seconds": 5}}, name="slow_steps")["result"]
    task_id = created["taskId"]

    mismatch = post("tasks/get", {"taskId": task_id}, name="slow_steps.another", status=400)["error"]
    undeclared = post("tasks/get", {"taskId": task_id}, name=task_id, status=400, declares=False)["error"]
    unknown = post("tasks/get", {"taskId": f"{task_id}1"}, name=f"{task_id}1", status=400)["error"]
    listening = {"notifications": {"taskIds": [task_id]}}
    deaf = post("subscriptions/listen", listening, name=None, status=400, declares=False)["error"]
    assert mismatch["code"] == HEADER_MISMATCH
    assert undeclared["code"] == deaf["code"] == MISSING_REQUIRED_CLIENT_CAPABILITY
    assert undeclared["data"] == {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
    assert unknown["code"] == INVALID_PARAMS
    assert unknown["message"] == f"There is no task '{task_id}1' that you have started."

    acknowledged = post("tasks/cancel", {"taskId": task_id}, name=task_id)["result"]
    assert acknowledged.keys() <= {"resultType", "_meta"}
    cancelled = post("tasks/get", {"taskId": task_id}, name=None)["result"]  # FastMCP's client sends no name
    assert cancelled["status"] == "cancelled"


async def nobody(*_: object) -> Any:
    raise AssertionError("a task's questions are for `tasks/update`")


async def test_declined_question_is_not_asked_by_another_process(demo: RunningDemo, tmp_path: Path) -> None:
    secret = secrets.token_hex(32)

    def another() -> Any:
        words = ["-m", "dagcall", "serve", "--stdio", "--config", str(demo.config)]
        environ = {**demo.environ, "DAGCALL_SERVER_SECRET": secret}
        return stdio_client(StdioServerParameters(command=sys.executable, args=words, env=environ), errlog=errors)

    with (tmp_path / "stderr").open("w") as errors:
        async with (
            asyncio.timeout(LONGEST_SECONDS),
            task_client(another(), elicitation_callback=nobody) as creator,
            task_client(another(), elicitation_callback=nobody) as client,
        ):
            created = await creator.call("approve_refund", REFUND)
            asking = await creator.until(created["taskId"], "input_required")
            (key,) = asking["inputRequests"]
            await client.update(created["taskId"], {key: {"action": "decline"}})
            found = [await each.until(created["taskId"], "input_required", "completed") for each in (creator, client)]

    assert [task["status"] for task in found] == ["completed", "completed"]
    assert found[0]["result"] == found[1]["result"]
    content = found[0]["result"]["structuredContent"]
    assert content["message"].startswith("Your user declined to answer")
    note = demo.note_of("approve_refund", content["dag_run_id"])
    assert "] Declined through MCP by mcp 0.1.0: approve (declined " in note


async def test_question_can_be_answered_through_another_process(demo: RunningDemo, tmp_path: Path) -> None:
    """Two processes with one secret act as replicas: one creates the task, the other asks and finishes it."""
    secret = secrets.token_hex(32)

    def another() -> Any:
        words = ["-m", "dagcall", "serve", "--stdio", "--config", str(demo.config)]
        environ = {**demo.environ, "DAGCALL_SERVER_SECRET": secret}
        return stdio_client(StdioServerParameters(command=sys.executable, args=words, env=environ), errlog=errors)

    async with asyncio.timeout(LONGEST_SECONDS):
        with (tmp_path / "stderr").open("w") as errors:
            async with task_client(another()) as creator:
                created = await creator.call("approve_refund", REFUND)
            async with task_client(another(), elicitation_callback=nobody) as client:
                asking = await client.until(created["taskId"], "input_required")
                ((key, request),) = asking["inputRequests"].items()
                await client.update(created["taskId"], {key: {"action": "accept", "content": APPROVAL}})
                done = await client.until(created["taskId"])

    assert "Refund 180.00 EUR for order SO-2026-T4SK?" in request["params"]["message"]
    answer = done["result"]["structuredContent"]["results"]["answer"]
    assert (answer["decision"], answer["paid"], answer["receipt"]["note"]) == ("approved", 120.0, "Minus the cable.")


# FastMCP's client


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest) -> Path:
    """The interpreter of an environment with FastMCP's client."""
    return interpreter_of(FASTMCP, request.config)


def followed(demo: RunningDemo, python: Path, tool: str, arguments: dict[str, Any], *answer: str) -> dict[str, Any]:
    done = subprocess.run(  # noqa: S603 - our own command
        [python, HERE / "fastmcp_client.py", demo.url, tool, json.dumps(arguments), *answer],
        env=dict(demo.environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["task_id"].startswith(f"{tool}.")
    return found


def test_fastmcp_follows_a_task_to_its_result(demo: RunningDemo, python: Path) -> None:
    found = followed(demo, python, "slow_steps", {"batches": 2, "seconds": 0.5})
    assert found["statuses"] == ["working", "completed"]
    assert found["is_error"] is False
    assert found["answer"]["results"]["open_shop"]["loaves"] == 24
    assert json.loads(found["text"]) == found["answer"]


def test_fastmcp_gets_the_failure_of_a_run(demo: RunningDemo, python: Path) -> None:
    found = followed(demo, python, "always_fails", {"message": "no paper"})
    assert found["statuses"] == ["working", "completed"]
    assert found["is_error"] is True
    assert "ValueError: Step 3 failed: no paper" in found["text"]


def test_fastmcp_gets_the_reason_of_a_refused_call(demo: RunningDemo, python: Path) -> None:
    before = demo.runs_of("slow_steps")
    found = followed(demo, python, "slow_steps", {"batches": "many"})
    assert found["is_error"] is True
    assert found["text"].startswith("Nothing was started: invalid arguments for slow_steps.\n- batches: ")
    assert demo.runs_of("slow_steps") == before


def test_fastmcp_gets_the_undelivered_outcome_of_an_earlier_run(demo: RunningDemo, python: Path, post: Post) -> None:
    arguments = {"message": f"no ink {secrets.token_hex(4)}"}  # fails, and the failure is replayed as well
    created = post("tools/call", {"name": "always_fails", "arguments": arguments}, name="always_fails")["result"]
    run_id = created["taskId"].removeprefix("always_fails.")
    ends = time.monotonic() + LONGEST_SECONDS
    while (runs := demo.runs_of("always_fails"))[run_id] not in {"success", "failed"}:
        assert time.monotonic() < ends
        time.sleep(1)

    found = followed(demo, python, "always_fails", arguments)

    assert found["task_id"] == f"always_fails.{run_id}.replayed"
    assert found["is_error"] is True
    assert f"ValueError: Step 3 failed: {arguments['message']}" in found["text"]
    assert demo.runs_of("always_fails").keys() == runs.keys()


def test_fastmcp_asks_its_user(demo: RunningDemo, python: Path) -> None:
    found = followed(demo, python, "approve_refund", REFUND, json.dumps(APPROVAL))
    assert found["answer"]["results"]["answer"]["paid"] == 120.0
    (message,) = found["asked"]
    assert "- Reason: The grinder is broken." in message


def test_fastmcp_without_a_user_gets_the_url_to_answer(demo: RunningDemo, python: Path) -> None:
    found = followed(demo, python, "approve_refund", REFUND)
    assert found["is_error"] is False
    assert found["answer"]["state"] == "awaiting_input"
    assert found["answer"]["questions"][0]["url"].endswith("/tasks/approve/required_actions")
