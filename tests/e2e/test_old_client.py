"""A client that knows nothing of 2026: the SDK's last release of the 1.x line, in an environment of its own."""

import asyncio
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from dagcall.demo.installation import make_environment
from tests.e2e.commands import clean_environ
from tests.e2e.running_demo import RunningDemo
from tests.terminal import terminal_of

HERE = Path(__file__).parent
NAME = "mcp-1.30.0"


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest) -> Path:
    """The interpreter of an environment with the old SDK; it is kept for the next time."""
    tell = terminal_of(request.config)
    tell(f"{NAME}: an environment of its own, which is made if it is not there yet")
    return asyncio.run(make_environment(NAME, HERE / "requirements" / f"{NAME}.txt", environ=clean_environ()))


@pytest.mark.parametrize("transport", ["http", "stdio"])
def test_an_old_client_lists_and_calls(demo: RunningDemo, python: Path, transport: str) -> None:
    served = [sys.executable, "-m", "dagcall", "serve", "--stdio", "--config", str(demo.config)]
    target = [demo.url] if transport == "http" else served
    done = subprocess.run(  # noqa: S603 - our own command
        [python, HERE / "old_client.py", "factorial", '{"n": 25}', transport, *target],
        env=dict(demo.environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["revision"] == "2025-11-25"
    assert {"factorial", "summarize_text", "wait_for_dag_run"} <= set(found["tools"])
    assert found["is_error"] is False
    assert found["answer"]["results"] == {"compute": str(math.factorial(25))}
    assert json.loads(found["text"]) == found["answer"]
