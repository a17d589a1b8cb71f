import pytest

from dagcall.failures import MAX_EXCEPTION_CHARACTERS, exception_in, failed_instances, failure_text
from dagcall.model import LogEvent, TaskInstance


def failed(task_id: str, map_index: int = -1, tries: tuple[int, int] = (1, 0)) -> TaskInstance:
    return TaskInstance(task_id, map_index, "failed", *tries)


def text(*instances: TaskInstance, exceptions: dict[tuple[str, int], str] | None = None) -> list[str]:
    told = failure_text(dag_id="d", run_id="r", url="http://u", instances=instances, exceptions=exceptions or {})
    lines = told.splitlines()
    assert lines[0] == "The run r of dag d failed."
    assert lines[-1] == "Calling again starts a new run. This one, for people: http://u"
    return lines[1:-1]


@pytest.mark.parametrize(
    ("events", "exception"),
    [
        ([LogEvent("info", "hello")], None),
        ([LogEvent("error", "x", (("ValueError", "boom"),)), LogEvent("info", "bye")], "ValueError: boom"),
        ([LogEvent("error", "x", (("KeyError", ""),))], "KeyError"),
        ([LogEvent("error", "1", (("A", "1"),)), LogEvent("error", "2", (("B", "2"), ("A", "1")))], "B: 2"),
    ],
)
def test_the_exception_of_a_log(events: list[LogEvent], exception: str | None) -> None:
    assert exception_in(events) == exception


def test_a_long_exception_is_shortened_visibly() -> None:
    told = exception_in([LogEvent("error", "x", (("E", "y" * 5000),))]) or ""
    assert len(told) == MAX_EXCEPTION_CHARACTERS + 1
    assert told.endswith("…")


def test_a_failed_task_is_told_with_its_try_and_exception() -> None:
    done = TaskInstance("prepare", -1, "success", 1, 0)
    skipped = TaskInstance("later", -1, "upstream_failed", 0, 0)

    assert text(done, failed("t", 3, (2, 1)), skipped, exceptions={("t", 3): "E: m"}) == [
        "Task t[3] failed on try 2 of 2: E: m",
        "Done before that, and not undone: prepare.",
    ]


def test_many_failed_tasks_are_counted() -> None:
    lines = text(*(failed("t", index) for index in range(7)))

    assert lines[0] == "Task t[0] failed on try 1 of 1; its log names no exception."
    assert lines[-1] == "2 more tasks failed."


def test_a_run_that_failed_without_a_failed_task_says_what_that_means() -> None:
    assert text() == ["No task of it failed: it ran into its time limit, or somebody set it to failed."]


def test_tasks_that_had_no_chance_did_not_fail_themselves() -> None:
    assert failed_instances([failed("b"), TaskInstance("a", -1, "upstream_failed", 0, 0), failed("a")]) == [
        failed("a"),
        failed("b"),
    ]
