"""The audit log: what one line says, and what never stands in it."""

import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError

from dagcall.errors import ConfigError
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask
from tests.unit.conftest import Served
from tests.unit.test_calls import add, call


def lines(file: Path) -> list[dict[str, Any]]:
    text = file.read_text(encoding="utf-8")
    assert all(character.isprintable() for character in text.replace("\n", ""))
    return [json.loads(line) for line in text.splitlines()]


async def test_a_call_is_one_line(served: Served, tmp_path: Path) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    file = tmp_path / "audit.jsonl"

    async with served(airflow, dags=["*"], audit={"file": str(file)}) as dagcall:
        await call(dagcall, "add", x=1)
        await call(dagcall, "add", "legacy", x=2)
        await call(dagcall, "add", x=1)

    first, second, third = lines(file)
    assert first["time"].endswith("+00:00")
    assert first["seconds"] >= 0
    assert first["arguments_digest"].startswith("hmac-sha256:")
    assert first["arguments_digest"] == third["arguments_digest"] != second["arguments_digest"]
    kept = ("method", "caller", "client", "tool", "dag", "run", "outcome")
    assert {key: first[key] for key in kept} == {
        "method": "tools/call add",
        "caller": "local",
        "client": "mcp 0.1.0",
        "tool": "add",
        "dag": "add",
        "run": airflow.runs[0].run_id,
        "outcome": "success",
    }
    assert file.stat().st_mode & 0o777 == 0o600


async def test_what_was_refused_or_failed_is_there_too(served: Served, tmp_path: Path) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("fails", tasks=[FakeTask("it", lambda _: 1 / 0)]))
    file = tmp_path / "audit.jsonl"

    async with served(airflow, dags=["*"], audit={"file": str(file), "arguments": "none"}) as dagcall:
        await call(dagcall, "fails", x=1)
        async with Client(dagcall.mcp.sdk) as client:
            with pytest.raises(MCPError):
                await client.call_tool("fail\x7fs\n\u202e", {})
        await call(dagcall, "fails")
        run_id = airflow.runs[0].run_id
        await call(dagcall, "cancel_dag_run", tool="fails", dag_run_id=run_id)
        await call(dagcall, "read_dag_result", tool="fails", dag_run_id=run_id)

    told = [(line["tool"], line["outcome"], line.get("run")) for line in lines(file)]
    assert told == [
        ("fails", "refused", None),
        ("fail\x7fs\n\u202e", "refused", None),
        ("fails", "failed", run_id),
        ("fails", "failed", run_id),
        ("fails", "refused", run_id),
    ]
    assert "Nothing was started" in lines(file)[0]["error"]
    assert not any("arguments" in key for line in lines(file) for key in line)


async def test_arguments_in_full_are_masked(served: Served, tmp_path: Path) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("echo", params={"text": "", "password": ""}))
    file = tmp_path / "audit.jsonl"
    login = {"password": "known-to-dagcall"}
    airflow.access.users["admin"] = type(airflow.access.users["admin"])("admin", "known-to-dagcall")

    async with served(airflow, dags=["*"], airflow=login, audit={"file": str(file), "arguments": "full"}) as dagcall:
        await call(dagcall, "echo", text="it is known-to-dagcall\n", password="hunter2-and-more")

    (line,) = lines(file)
    assert line["arguments"] == '{"password":"***","text":"it is ***\\n"}'


async def test_a_renamed_file_is_opened_anew(served: Served, tmp_path: Path) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    file = tmp_path / "audit.jsonl"

    async with served(airflow, dags=["*"], audit={"file": str(file)}) as dagcall:
        await call(dagcall, "add", x=1)
        file.rename(tmp_path / "audit.jsonl.1")
        await call(dagcall, "add", x=2)

    assert len(lines(file)) == len(lines(tmp_path / "audit.jsonl.1")) == 1


async def test_lines_go_to_stderr(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow, dags=["*"], audit={"file": "stderr"}) as dagcall:
        await call(dagcall, "add", x=1)

    assert json.loads(capsys.readouterr().err.splitlines()[-1])["outcome"] == "success"


async def test_a_file_that_cannot_be_written_is_said_at_the_start(served: Served, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"audit\.file: .* cannot be written: No such file or directory"):
        async with served(FakeAirflow(), dags=["*"], audit={"file": str(tmp_path / "no" / "audit.jsonl")}):
            pass
