"""Results and failures that are returned before the run ends, and progress during the run."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.clients import CONNECTIONS, connected, text_of
from tests.support.running_demo import RunningDemo

SECONDS = 60


@dataclass(frozen=True)
class Switch:
    """Lets the runs of a test end."""

    file: Path

    def flip(self) -> None:
        self.file.touch()

    @property
    def is_flipped(self) -> bool:
        return self.file.exists()


@pytest.fixture
def switch(tmp_path: Path) -> Switch:
    return Switch(tmp_path / "go_on")


@pytest.mark.parametrize("connection", CONNECTIONS)
async def test_failure_is_returned_while_the_run_continues(
    demo: RunningDemo, tmp_path: Path, switch: Switch, connection: str
) -> None:
    before = demo.runs_of("early_failure")
    async with asyncio.timeout(SECONDS), connected(demo, connection, tmp_path / "errors", allowed="early_*") as client:
        result = await client.call_tool("early_failure", {"go_on": str(switch.file)})

    text = text_of(result)
    (run_id,) = demo.runs_of("early_failure").keys() - before.keys()
    state = demo.runs_of("early_failure")[run_id]
    switch.flip()
    assert result.is_error
    assert state == "running"
    assert "ValueError: there is no answer" in text
    assert run_id in text


@pytest.mark.parametrize("connection", CONNECTIONS[2:])
async def test_results_ready_returns_results_while_the_run_continues(
    demo: RunningDemo, tmp_path: Path, switch: Switch, connection: str
) -> None:
    tool = '[[tools]]\ndag = "early_result"\nresults = ["answer"]\nreturn_when = "results_ready"\n'
    own = replace(demo, folder=demo.allowing(tmp_path, tool).parent)
    async with asyncio.timeout(SECONDS), connected(own, connection, tmp_path / "errors") as client:
        result = await client.call_tool("early_result", {"go_on": str(switch.file)})

        content = result.structured_content
        assert isinstance(content, dict)
        state = demo.runs_of("early_result")[content["dag_run_id"]]
        switch.flip()
        assert (content["state"], content["results"]) == ("results_ready", {"answer": 42})
        assert state == "running"

        arguments = {"tool": "early_result", "dag_run_id": content["dag_run_id"]}
        later = await client.call_tool("wait_for_dag_run", arguments)
        assert isinstance(later.structured_content, dict)
        assert later.structured_content["results"] == {"answer": 42}


@pytest.mark.parametrize("connection", CONNECTIONS)
async def test_progress_names_done_and_running_tasks(
    demo: RunningDemo, tmp_path: Path, switch: Switch, connection: str
) -> None:
    seen: list[tuple[float, float | None, str]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message or ""))
        if "1 of 2 tasks done; running: tidy" in (message or ""):
            switch.flip()

    async with asyncio.timeout(SECONDS), connected(demo, connection, tmp_path / "errors", allowed="early_*") as client:
        result = await client.call_tool("early_result", {"go_on": str(switch.file)}, progress_callback=on_progress)

    assert not result.is_error, text_of(result)
    assert switch.is_flipped, seen
    numbers = [number for number, _, _ in seen]
    assert numbers == sorted(set(numbers))
    assert any(total == 2 for _, total, _ in seen)
