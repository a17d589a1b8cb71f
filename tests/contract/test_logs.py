"""How logs and end dates of task instances describe a failure, on the fake and on the real Airflow.

The events are from a worker of Airflow 3.3.2, reduced to the fields that dagcall reads; 3.1 and 3.2 write the same
events except for the group markers.
"""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dagcall.airflow.client import AirflowApi
from dagcall.airflow.credentials import Credentials, static_token
from dagcall.airflow.gate import Gate
from dagcall.airflow.model import Frame, LogEvent, LoggedException, TaskInstance
from dagcall.airflow.rest import AirflowRest
from dagcall.results.task_log import own_events, written_events
from tests.contract.fake_side import ContractAirflow
from tests.support.plain_http import PLAIN


@pytest.fixture
async def api(airflow: ContractAirflow) -> AsyncIterator[AirflowApi]:
    credentials = Credentials(static_token(airflow.token()), now=time.time)
    rest = AirflowRest(airflow.url, credentials, gate=Gate(), transport=airflow.transport, verify=PLAIN)
    yield AirflowApi(rest)
    await rest.aclose()


async def running(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    await api.trigger("one_task", run_id=run_id, conf={}, logical_date=None, note="")
    airflow.start("one_task", run_id)


def event(text: str, level: str = "info", logger: str = "task", **more: Any) -> dict[str, Any]:
    return {"timestamp": "2026-01-01T00:00:00.000000Z", "event": text, "level": level, "logger": logger} | more


def exception(kind: str, value: str, *frames: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "exc_type": kind,
        "exc_value": value,
        "exc_notes": [],
        "syntax_error": None,
        "is_cause": False,
        "frames": list(frames),
        "is_group": False,
        "exceptions": [],
    } | more


async def the_log(airflow: ContractAirflow, api: AirflowApi, run_id: str, *log: dict[str, Any]) -> tuple[LogEvent, ...]:
    await running(airflow, api, run_id)
    airflow.set_task("one_task", run_id, "add", "failed", log=log)
    return await api.fetch_log("one_task", run_id, TaskInstance("add", -1, "failed", 1, 0))


async def test_task_output_is_separated_from_airflows_own_events(
    airflow: ContractAirflow, api: AirflowApi, run_id: str
) -> None:
    events = await the_log(
        airflow,
        api,
        run_id,
        event("::group::Pre Execute"),
        event("Worker startup parse complete", dag_file="x.py", dag_file_parse_ms=3),
        event("::endgroup::"),
        event("asking", logger="shop"),
        event("printed", logger="task.stdout"),
        event("Process terminated by signal.", "critical", signal=-9, signal_name="SIGKILL"),
        event("Process exited abnormally", "warning", exit_code=7),
    )
    assert own_events(events) == [LogEvent("info", "asking", "shop"), LogEvent("info", "printed", "task.stdout")]
    assert written_events(events)[-2:] == [
        LogEvent("critical", "Process terminated by signal.", "task", signal="SIGKILL"),
        LogEvent("warning", "Process exited abnormally", "task", exit_code=7),
    ]


async def test_exceptions_have_their_causes_and_group_members(
    airflow: ContractAirflow, api: AirflowApi, run_id: str
) -> None:
    frame = {"filename": "/dags/x.py", "lineno": 3, "name": "f"}
    group = exception("ExceptionGroup", "two (2 sub-exceptions)", is_group=True)
    group["exceptions"] = [[exception("A", "1")], [exception("B", "2")]]
    events = await the_log(
        airflow,
        api,
        run_id,
        event(
            "Task failed with exception",
            "error",
            error_detail=[
                exception("ValueError", "no", frame, exc_notes=["a note"]),
                exception("KeyError", "'x'", is_cause=True),
            ],
        ),
        event("Task failed with exception", "error", error_detail=[group]),
    )
    assert [found.exceptions for found in written_events(events)] == [
        (
            LoggedException("ValueError", "no\na note", (Frame("/dags/x.py", 3, "f"),)),
            LoggedException("KeyError", "'x'"),
        ),
        (
            LoggedException("ExceptionGroup", "two (2 sub-exceptions)"),
            LoggedException("A", "1"),
            LoggedException("B", "2"),
        ),
    ]


@pytest.mark.parametrize("detail", ["text", {"exc_type": "E"}, [1, {}, {"exc_type": "E", "frames": [1]}], None])
async def test_foreign_error_detail_does_not_break_the_log(
    airflow: ContractAirflow, api: AirflowApi, run_id: str, detail: object
) -> None:
    events = await the_log(airflow, api, run_id, event("mine", "error", "shop", error_detail=detail))
    assert [found.event for found in written_events(events)] == ["mine"]


async def test_empty_log_has_no_events(airflow: ContractAirflow, api: AirflowApi, run_id: str) -> None:
    assert written_events(await the_log(airflow, api, run_id)) == []


async def test_run_set_to_failed_ends_before_its_running_tasks(
    airflow: ContractAirflow, api: AirflowApi, run_id: str
) -> None:
    await running(airflow, api, run_id)
    airflow.set_task("one_task", run_id, "add", "running")
    await api.set_run_failed("one_task", run_id)

    run = await api.fetch_run("one_task", run_id)
    (instance,) = await api.fetch_task_instances("one_task", run_id)
    assert instance.state == "failed"
    assert run.end_date is not None
    assert instance.end_date is not None
    assert instance.end_date >= run.end_date
