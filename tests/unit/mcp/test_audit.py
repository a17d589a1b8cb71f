"""The audit log: what a line contains, and what it never contains."""

import asyncio
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError

from dagcall.auth.callers import LOCAL
from dagcall.errors import ConfigError
from dagcall.masking import Masker
from dagcall.mcp.audit import CALL_FIELDS, Audit, opened
from dagcall.mcp.request import Origin
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask
from tests.server.test_calls import add, call
from tests.support.in_memory import Served
from tests.support.task_client import task_client
from tests.unit.runs.test_quotas import waits


def lines(file: Path) -> list[dict[str, Any]]:
    text = file.read_text(encoding="utf-8")
    assert all(character.isprintable() for character in text.replace("\n", ""))
    return [json.loads(line) for line in text.splitlines()]


async def test_call_writes_one_line(served: Served, tmp_path: Path) -> None:
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


async def test_refused_and_failed_calls_are_audited(served: Served, tmp_path: Path) -> None:
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


async def test_line_names_the_best_known_tool_of_an_invalid_request(served: Served, tmp_path: Path) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    file = tmp_path / "audit.jsonl"

    async with served(airflow, dags=["*"], audit={"file": str(file)}) as dagcall:
        await call(dagcall, "wait_for_dag_run")
        await call(dagcall, "cancel_dag_run", tool=["add"], dag_run_id="x")
        await call(dagcall, "read_dag_result", tool="add")
        async with Client(dagcall.mcp.sdk) as client:
            for uri in ("dagcall://runs/add/mcp__none/results", "dagcall://elsewhere"):
                with pytest.raises(MCPError):
                    await client.read_resource(uri)

    *about_tools, of_add, of_none = lines(file)
    assert [line["tool"] for line in about_tools] == ["wait_for_dag_run", "cancel_dag_run", "add"]
    assert (of_add["tool"], of_add["dag"]) == ("add", "add")
    assert "tool" not in of_none


async def test_full_arguments_are_masked(served: Served, tmp_path: Path) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("echo", params={"text": "", "password": ""}))
    file = tmp_path / "audit.jsonl"
    login = {"password": "known-to-dagcall"}
    airflow.access.users["admin"] = type(airflow.access.users["admin"])("admin", "known-to-dagcall")

    async with served(airflow, dags=["*"], airflow=login, audit={"file": str(file), "arguments": "full"}) as dagcall:
        await call(dagcall, "echo", text="it is known-to-dagcall\n", password="hunter2-and-more")

    (line,) = lines(file)
    assert line["arguments"] == '{"password":"***","text":"it is ***\\n"}'


async def test_file_is_recreated_after_a_rename(served: Served, tmp_path: Path) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    file = tmp_path / "audit.jsonl"

    async with served(airflow, dags=["*"], audit={"file": str(file)}) as dagcall:
        await call(dagcall, "add", x=1)
        file.rename(tmp_path / "audit.jsonl.1")
        await call(dagcall, "add", x=2)

    assert len(lines(file)) == len(lines(tmp_path / "audit.jsonl.1")) == 1
    assert file.stat().st_mode & 0o777 == 0o600


async def test_unwritable_line_goes_to_dagcalls_log_and_the_call_succeeds(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    file = tmp_path / "logs" / "audit.jsonl"
    file.parent.mkdir()

    async with served(airflow, dags=["*"], audit={"file": str(file)}) as dagcall:
        file.parent.rename(tmp_path / "moved")
        answers = [await call(dagcall, "add", x=1), await call(dagcall, "add", "legacy", x=2)]
        lost = [record.getMessage() for record in caplog.records if record.name == "dagcall.mcp.audit"]
        file.parent.mkdir()
        await call(dagcall, "add", x=3)

    assert not any(answer.is_error for answer in answers)
    assert len(lost) == 2
    assert lost[0].startswith(f"audit.file: {file} cannot be written: [Errno 2] No such file or directory")
    assert json.loads(lost[0][lost[0].index("{") :])["outcome"] == "success"
    (line,) = lines(file)
    assert line["run"] == airflow.runs[2].run_id


async def test_task_writes_a_line_at_its_start_and_at_delivery(served: Served, tmp_path: Path) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.add_dag(FakeDag("fails", tasks=[FakeTask("it", lambda _: 1 / 0)]))
    airflow.add_dag(waits())
    file = tmp_path / "audit.jsonl"

    async with (
        served(airflow, dags=["*"], audit={"file": str(file)}) as dagcall,
        asyncio.timeout(60),
        task_client(dagcall.mcp.sdk) as client,
    ):
        for name, arguments in (("add", {"x": 1}), ("fails", {})):
            await client.until((await client.call(name, arguments))["taskId"])
        waiting = (await client.call("waits", {"x": 1}))["taskId"]
        await client.get(waiting)
        await client.cancel(waiting)
        await client.until(waiting)
        with pytest.raises(MCPError):
            await client.get("add.mcp__of_somebody_else")

    assert [(line["method"], line["outcome"]) for line in lines(file)] == [
        ("tools/call add", "task"),
        ("tasks/get", "success"),
        ("tools/call fails", "task"),
        ("tasks/get", "failed"),
        ("tools/call waits", "task"),
        ("tasks/cancel", "done"),
        ("tasks/get", "cancelled"),
        ("tasks/get", "refused"),
    ]


async def test_requests_refused_during_shutdown_are_audited(served: Served, tmp_path: Path) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    file = tmp_path / "audit.jsonl"

    async with served(airflow, dags=["*"], audit={"file": str(file)}) as dagcall, Client(dagcall.mcp.sdk) as client:
        with pytest.raises(MCPError):
            await client.read_resource("dagcall://runs/add/mcp__none/results")
        dagcall.mcp.begin_stop()
        await client.call_tool("add", {"x": 1})
        with pytest.raises(MCPError):
            await client.read_resource("dagcall://runs/add/mcp__none/results")

    assert [(line["method"], line["outcome"]) for line in lines(file)] == [
        ("resources/read", "refused"),
        ("tools/call add", "refused"),
        ("resources/read", "refused"),
    ]


async def test_lines_go_to_stderr_if_configured(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())

    async with served(airflow, dags=["*"], audit={"file": "stderr"}) as dagcall:
        await call(dagcall, "add", x=1)

    assert json.loads(capsys.readouterr().err.splitlines()[-1])["outcome"] == "success"


async def test_unwritable_file_is_a_config_error_at_startup(served: Served, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"audit\.file: .* cannot be written: No such file or directory"):
        async with served(FakeAirflow(), dags=["*"], audit={"file": str(tmp_path / "no" / "audit.jsonl")}):
            pass


async def test_all_lines_are_written_at_shutdown(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"

    with opened(file) as write:
        assert write is not None
        write('{"first": 1}')
        write('{"second": 2}')

    assert lines(file) == [{"first": 1}, {"second": 2}]


async def test_lone_surrogate_is_written_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    origin = Origin(LOCAL, "a client", "1", None)

    with opened(file) as write:
        audit = Audit(
            write, arguments="none", masker=Masker(()), key=b"key", wall_clock=lambda: datetime(2026, 1, 31, tzinfo=UTC)
        )
        with audit.request(origin, "tools/call \ud800\x7f", {}):
            pass

    assert lines(file)[0]["method"] == "tools/call \ud800\x7f"


async def test_log_has_a_line_for_each_request_with_the_fields_of_the_audit_log(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())
    file = tmp_path / "audit.jsonl"

    with caplog.at_level(logging.INFO, logger="dagcall.calls"):
        async with served(airflow, dags=["*"], audit={"file": str(file)}) as dagcall:
            await call(dagcall, "add", x=1)
            await call(dagcall, "cancel_dag_run", tool="add", dag_run_id="unknown")

    logged = [record for record in caplog.records if record.name == "dagcall.calls"]
    audited = [{key: value for key, value in line.items() if key != "arguments_digest"} for line in lines(file)]
    assert [getattr(record, CALL_FIELDS) for record in logged] == audited
    first, second = (record.getMessage() for record in logged)
    assert first.startswith("tools/call add: success after 0.")
    assert f" s (run {airflow.runs[0].run_id}, caller local, client mcp 0.1.0, request " in first
    assert " s (tool add, caller local, client mcp 0.1.0, request " in second
    assert "): there is no run 'unknown' that you started" in second


async def test_audit_log_on_stderr_replaces_the_lines_of_the_log(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    airflow = FakeAirflow()
    airflow.add_dag(add())

    with caplog.at_level(logging.INFO, logger="dagcall.calls"):
        async with served(airflow, dags=["*"], audit={"file": "stderr"}) as dagcall:
            await call(dagcall, "add", x=1)

    assert not [record for record in caplog.records if record.name == "dagcall.calls"]
