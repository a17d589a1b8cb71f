import pytest

from dagcall.airflow.model import Frame, LogEvent, LoggedException, Run, RunState, Task, leaf_task_ids, run_key


def task(task_id: str, *downstream: str, rule: str = "all_success") -> Task:
    data = {"task_id": task_id, "downstream_task_ids": list(downstream), "trigger_rule": rule, "is_mapped": False}
    return Task.from_json(data)


def test_leaves_are_tasks_followed_only_by_teardown_tasks() -> None:
    tasks = (
        task("start", "right", "left"),
        task("right", "clean"),
        task("left"),
        task("clean", rule="all_done_setup_success"),
    )
    assert leaf_task_ids(tasks) == ("left", "right")


def test_only_success_and_failed_are_final_states() -> None:
    assert [state for state in RunState if state.is_final] == [RunState.SUCCESS, RunState.FAILED]


def test_log_line_is_plain_text_or_an_event() -> None:
    assert LogEvent.from_json("plain") == LogEvent(None, "plain")
    event = {"level": "error", "event": "ended", "logger": "task", "signal_name": "SIGKILL", "exit_code": 7}
    assert LogEvent.from_json(event) == LogEvent("error", "ended", "task", signal="SIGKILL", exit_code=7)


@pytest.mark.parametrize(
    ("given", "read"), [(7, 7), (0, 0), (None, 0), (True, 1), ("no region", "no region"), ([1], "[1]")]
)
def test_exit_code_is_read_as_sys_exit_interprets_it(given: object, read: int | str) -> None:
    assert LogEvent.from_json({"event": "Task exited", "exit_code": given}).exit_code == read


def test_missing_exit_code_is_none() -> None:
    assert LogEvent.from_json({"event": "Task exited"}).exit_code is None


def test_exceptions_include_notes_frames_and_group_members() -> None:
    frames = [{"filename": "x.py", "lineno": 3, "name": "f"}]
    members = [[{"exc_type": "A", "exc_value": "1"}], [{"exc_type": "B", "exc_value": "2"}]]
    detail = [
        {"exc_type": "ValueError", "exc_value": "boom", "exc_notes": ["a note"], "frames": frames},
        {"exc_type": "ExceptionGroup", "exc_value": "two", "exceptions": members},
    ]
    assert LogEvent.from_json({"event": "failed", "error_detail": detail}).exceptions == (
        LoggedException("ValueError", "boom\na note", (Frame("x.py", 3, "f"),)),
        LoggedException("ExceptionGroup", "two"),
        LoggedException("A", "1"),
        LoggedException("B", "2"),
    )


@pytest.mark.parametrize("detail", ["text", {"exc_type": "E"}, [1, {}, None]])
def test_malformed_error_detail_is_ignored(detail: object) -> None:
    assert LogEvent.from_json({"event": "mine", "error_detail": detail}).exceptions == ()


def test_malformed_frame_is_skipped() -> None:
    detail = [{"exc_type": "E", "frames": ["text", {}]}]
    (found,) = LogEvent.from_json({"event": "mine", "error_detail": detail}).exceptions
    assert found == LoggedException("E", "", (Frame("None", 0, "None"),))


RUN: dict[str, object] = {
    "dag_id": "add",
    "dag_run_id": "mcp__1",
    "state": "queued",
    "conf": {},
    "run_after": "2030-01-01T00:00:00Z",
    "end_date": None,
    "note": None,
    "dag_versions": [{"version_number": 1}],
    "logical_date": None,
}


@pytest.mark.parametrize(
    "change",
    [
        {"dag_id": ["add"]},
        {"dag_run_id": None},
        {"state": "lost"},
        {"conf": [1]},
        {"note": {"content": "x"}},
        {"dag_versions": [{"version_number": "1"}]},
    ],
)
def test_value_of_the_wrong_type_is_rejected(change: dict[str, object]) -> None:
    assert Run.from_json(RUN).run_id == "mcp__1"
    with pytest.raises((TypeError, ValueError)):
        Run.from_json(RUN | change)


@pytest.mark.parametrize("key", [(["add"], "mcp__1"), ("add", {"value": "mcp__1"}), ("add", None)])
def test_run_key_requires_two_strings(key: tuple[object, object]) -> None:
    assert run_key(RUN) == ("add", "mcp__1")
    with pytest.raises(TypeError, match="is not a run"):
        run_key({"dag_id": key[0], "dag_run_id": key[1]})


def test_log_event_tolerates_values_of_any_type() -> None:
    event = LogEvent.from_json({"event": {"a": 1}, "level": 30, "logger": ["x"], "signal_name": 9})

    assert event == LogEvent(None, "{'a': 1}")
