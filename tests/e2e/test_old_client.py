"""A client that knows nothing of 2026: the SDK's last release of the 1.x line, in an environment of its own."""

import json
import math
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.environments import interpreter_of
from tests.e2e.running_demo import RunningDemo

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest) -> Path:
    """The interpreter of an environment with the old SDK; it is kept for the next time."""
    return interpreter_of("mcp-1.30.0", request.config)


Found = dict[str, Any]


@pytest.fixture(params=["http", "stdio"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def called(demo: RunningDemo, python: Path, transport: str) -> Callable[..., Found]:
    """Return a function that calls a tool with the old client, and returns all that the client saw."""

    def call(tool: str, *, content: dict[str, Any] | None = None, **arguments: Any) -> Found:
        served = [sys.executable, "-m", "dagcall", "serve", "--stdio", "--config", str(demo.config)]
        target = [demo.url] if transport == "http" else served
        words = [tool, json.dumps(arguments), json.dumps(content), transport, *target]
        done = subprocess.run(  # noqa: S603 - our own command
            [python, HERE / "old_client.py", *words],
            env={**demo.environ, "DAGCALL_SERVER_SECRET": secrets.token_hex(32)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        found: Found = json.loads(done.stdout)
        assert found["revision"] == "2025-11-25"
        assert found["is_error"] or json.loads(found["text"]) == found["answer"]
        return found

    return call


def test_an_old_client_lists_and_calls(demo: RunningDemo, called: Callable[..., Found]) -> None:
    found = called("factorial", n=25)
    assert " by mcp 0.1.0 [" in demo.note_of("factorial", found["answer"]["dag_run_id"])
    assert {"factorial", "summarize_text", "wait_for_dag_run"} <= set(found["tools"])
    assert found["is_error"] is False
    assert found["answer"]["results"] == {"compute": str(math.factorial(25))}


def test_an_old_client_reads_why_a_run_failed(called: Callable[..., Found]) -> None:
    found = called("always_fails", message=f"no disk {secrets.token_hex(4)}")
    assert found["is_error"] is True
    assert found["answer"] is None
    assert "Task explode failed on try 2 of 2: ValueError: Step 3 failed: no disk " in found["text"]
    assert "Had succeeded before, and is not undone: prepare." in found["text"]


def test_an_old_client_is_told_how_far_a_run_is(called: Callable[..., Found]) -> None:
    found = called("slow_steps", seconds=2.5)
    numbers = [number for number, _, _ in found["progress"]]
    assert numbers == sorted(set(numbers))
    assert any("tasks done; running: " in message for _, _, message in found["progress"])


def test_an_old_client_reads_a_large_result_as_a_resource(called: Callable[..., Found]) -> None:
    found = called("big_table")
    assert "results" not in found["answer"]
    assert found["answer"]["size_bytes"] > 1_000_000
    (text,) = found["read"]
    assert json.loads(text)["value"].keys() == found["answer"]["preview"].keys()


def test_an_old_client_asks_its_user_where_it_can(called: Callable[..., Found], transport: str) -> None:
    found = called("ask_approval", content={"answer": "Approve"}, subject=f"Go on, {secrets.token_hex(4)}?")
    if transport == "http":  # stateless: there is no way back to the client while it waits
        assert found["answer"]["state"] == "awaiting_input"
        assert found["asked"] == []
    else:
        assert found["answer"]["state"] == "success"
        assert len(found["asked"]) == 1


def test_an_old_client_without_a_user_gets_the_question(called: Callable[..., Found]) -> None:
    subject = f"Go on, {secrets.token_hex(4)}?"
    answer = called("ask_approval", subject=subject)["answer"]
    assert answer["state"] == "awaiting_input"
    assert [question["subject"] for question in answer["questions"]] == [subject]
