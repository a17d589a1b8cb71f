from dagcall.model import LogEvent, RunState, Task, leaf_task_ids


def task(task_id: str, *downstream: str, rule: str = "all_success") -> Task:
    return Task.from_json({"task_id": task_id, "downstream_task_ids": list(downstream), "trigger_rule": rule})


def test_leaves_are_the_tasks_after_which_only_clean_up_comes() -> None:
    tasks = (
        task("start", "right", "left"),
        task("right", "clean"),
        task("left"),
        task("clean", rule="all_done_setup_success"),
    )
    assert leaf_task_ids(tasks) == ("left", "right")


def test_a_run_has_ended_in_two_states() -> None:
    assert [state for state in RunState if state.is_final] == [RunState.SUCCESS, RunState.FAILED]


def test_a_log_line_may_be_bare_text_or_tell_of_an_exception() -> None:
    assert LogEvent.from_json("plain") == LogEvent(None, "plain")
    assert LogEvent.from_json(
        {"level": "error", "event": "Task failed", "error_detail": [{"exc_type": "ValueError", "exc_value": "boom"}]}
    ) == LogEvent("error", "Task failed", (("ValueError", "boom"),))
