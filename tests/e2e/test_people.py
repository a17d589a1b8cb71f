"""Runs that wait for people, on a real Airflow: every HITL operator, and every way a client can ask its user."""

import json
import os
import pty
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.client.context import ClientRequestContext
from mcp_types import CallToolResult, ElicitRequestFormParams, ElicitRequestParams, ElicitResult

from tests.support.clients import CONNECTIONS, connected, text_of
from tests.support.commands import COMMAND_SECONDS, DAGCALL, run_dagcall
from tests.support.plain_http import PLAIN
from tests.support.running_demo import RunningDemo

MODERN_HTTP, LEGACY_HTTP = "http 2026-07-28", "http 2025-11-25"


class Person:
    """The client's user, who answers by the task that asks."""

    def __init__(self, **answers: list[dict[str, Any]]) -> None:
        self.asked: list[str] = []
        self._answers = answers

    async def __call__(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:  # noqa: ARG002 - the SDK passes it by name
        assert isinstance(params, ElicitRequestFormParams)
        self.asked.append(params.message)
        task = params.message.partition("(task ")[2].partition(" ")[0]
        return ElicitResult(action="accept", content=self._answers[task.replace("[", "").replace("]", "")].pop(0))


async def call(
    demo: RunningDemo, connection: str, errors: Path, tool: str, person: Person | None, **arguments: Any
) -> dict[str, Any]:
    async with connected(demo, connection, errors, allowed=tool, on_question=person) as client:
        return content_of(await client.call_tool(tool, arguments))


def content_of(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error, text_of(result)
    assert isinstance(result.structured_content, dict)
    assert json.loads(text_of(result)) == result.structured_content
    return result.structured_content


def answered_in_airflow(demo: RunningDemo, content: dict[str, Any], tool: str) -> httpx.Response:
    """Answer the only question of a run as Airflow's UI does, after two heartbeats of the scheduler.

    A faster answer may fail the task (see `dagcall.runs.hitl_replies`).
    """
    (question,) = content["questions"]
    path = f"/dags/{tool}/dagRuns/{content['dag_run_id']}/taskInstances/{question['task_id']}/-1/hitlDetails"
    with demo.rest() as http:
        beats = set[str]()
        while len(beats) < 3:
            time.sleep(0.5)
            health = http.get("/monitor/health").raise_for_status().json()
            beats.add(health["scheduler"]["latest_scheduler_heartbeat"])
        return http.patch(path, json={"chosen_options": ["Approve"], "params_input": {}})


def is_there(url: str) -> bool:
    return httpx.get(url, trust_env=False, verify=PLAIN, timeout=60).is_success


@pytest.mark.parametrize("connection", CONNECTIONS)
async def test_user_is_asked_if_the_client_supports_elicitation(
    demo: RunningDemo, connection: str, tmp_path: Path
) -> None:
    """Over HTTP a client of a handshake revision does not: nothing connects the answer with the call."""
    person = Person(approve=[{"answer": "Approve", "amount": 120}])
    subject = f"Go on with {connection}?"
    content = await call(demo, connection, tmp_path / "errors", "ask_approval", person, subject=subject)

    if connection == LEGACY_HTTP:
        assert content["state"] == "awaiting_input"
        assert [question["subject"] for question in content["questions"]] == [subject]
        assert is_there(content["questions"][0]["url"])
        assert not person.asked
        return
    assert content["results"] == {
        "told": {"approve0": {"chosen_options": ["Approve"], "params_input": {"amount": 120, "note": None}}}
    }
    run_id = content["dag_run_id"]
    (asked,) = person.asked
    assert asked == (
        f"The Airflow dag ask_approval waits for a person (task approve of run {run_id}).\n\n{subject}\n\n"
        f"Order **{run_id}**"
    )
    with demo.rest() as http:
        note = http.get(f"/dags/ask_approval/dagRuns/{run_id}").json()["note"]
    assert "Answered through MCP by mcp 0.1.0: approve." in note


@pytest.mark.parametrize(
    ("tool", "answers", "results"),
    [
        pytest.param(
            "ask_options",
            {"ask": [{"answer": ["North", "West"]}]},
            {"told": {"ask0": {"chosen_options": ["North", "West"], "params_input": {}}}},
            id="several options",
        ),
        pytest.param("ask_branch", {"ask": [{"answer": "Right"}]}, {"left": None, "right": "gone"}, id="a branch"),
        pytest.param(
            "ask_form",
            {
                "ask": [
                    {"city": "B", "stops": '["Ulm"]', "speed": "3", "plain": 2},
                    {"city": "Bonn", "stops": '["Ulm"]', "speed": "3", "plain": 2},
                ]
            },
            {
                "told": {
                    "ask0": {
                        "chosen_options": ["OK"],
                        "params_input": {"city": "Bonn", "stops": ["Ulm"], "speed": 3, "plain": 2},
                    }
                }
            },
            id="a form, invalid at first",
        ),
        pytest.param(
            "ask_several",
            {"each0": [{"answer": "Approve"}], "each1": [{"answer": "Reject"}], "other": [{}]},
            {
                "told": {
                    "each0": {"chosen_options": ["Approve"], "params_input": {}},
                    "each1": {"chosen_options": ["Reject"], "params_input": {}},
                    "other0": {"chosen_options": ["OK"], "params_input": {}},
                }
            },
            id="several questions at once",
        ),
    ],
)
async def test_every_hitl_operator_can_be_answered(
    demo: RunningDemo, tmp_path: Path, tool: str, answers: dict[str, Any], results: dict[str, Any]
) -> None:
    person = Person(**{task: list(given) for task, given in answers.items()})
    content = await call(demo, MODERN_HTTP, tmp_path / "errors", tool, person)
    assert content["results"] == results


async def test_only_assigned_users_may_answer(demo: RunningDemo, tmp_path: Path) -> None:
    content = await call(demo, MODERN_HTTP, tmp_path / "errors", "ask_mia", Person())
    assert content["state"] == "awaiting_input"
    assert "in Airflow. Only Mia may answer. Give your user the url" in content["message"]
    assert content["questions"][0]["assigned_users"] == ["Mia"]


async def test_answer_given_in_airflow_finishes_the_run(demo: RunningDemo, tmp_path: Path) -> None:
    async with connected(demo, MODERN_HTTP, tmp_path / "errors") as client:
        content = content_of(await client.call_tool("ask_approval", {"subject": "In Airflow?"}))
        assert content["state"] == "awaiting_input"
        assert answered_in_airflow(demo, content, "ask_approval").is_success
        handle = {"tool": "ask_approval", "dag_run_id": content["dag_run_id"]}
        content = content_of(await client.call_tool("wait_for_dag_run", handle))
    assert content["results"]["told"]["approve0"]["chosen_options"] == ["Approve"]


async def test_expired_question_gets_airflows_default(demo: RunningDemo, tmp_path: Path) -> None:
    """Airflow then uses the default, and the run continues."""
    async with connected(demo, MODERN_HTTP, tmp_path / "errors") as client:
        content = content_of(await client.call_tool("ask_briefly", {}))
        handle = {"tool": "ask_briefly", "dag_run_id": content["dag_run_id"]}
        if content["state"] == "awaiting_input":  # otherwise it expired before dagcall saw it
            content = content_of(await client.call_tool("wait_for_dag_run", handle))
    assert content["results"]["told"]["ask0"]["chosen_options"] == ["Approve"]


def test_call_command_asks_in_the_terminal(demo: RunningDemo) -> None:
    words = ["order_id=SO-2026-A7K2", "amount=180", "reason=The bag arrived open."]
    ours, theirs = pty.openpty()
    os.write(ours, b"1\n120\nSorry for that.\n")
    with open(theirs, "rb", closefd=True) as terminal:  # noqa: PTH123 - a descriptor
        done = subprocess.run(  # noqa: S603 - our own command
            [*DAGCALL, "call", "approve_refund", *words],
            env=dict(demo.environ),
            stdin=terminal,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
    os.close(ours)
    assert done.returncode == 0, done.stderr
    assert "Refund 180.00 EUR for order SO-2026-A7K2?" in done.stderr
    result = json.loads(done.stdout)["results"]["answer"]
    assert (result["decision"], result["paid"], result["receipt"]["note"]) == ("approved", 120.0, "Sorry for that.")


def test_call_command_without_a_terminal_shows_the_question(demo: RunningDemo) -> None:
    done = run_dagcall("call", "ask_approval", "subject=Anybody there?", environ=demo.environ)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["state"] == "awaiting_input"
    assert shown["questions"][0]["subject"] == "Anybody there?"
