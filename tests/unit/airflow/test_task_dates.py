"""Which tasks a run has instances of, and whether it can have a result, by the tasks' start and end dates."""

from datetime import UTC, datetime

import pytest

from dagcall.airflow.model import Task
from dagcall.airflow.task_dates import excluding_date, reason_for_no_result

NOW = datetime(2030, 1, 1, tzinfo=UTC)
BEFORE = datetime(2029, 12, 31, tzinfo=UTC)
AFTER = datetime(2030, 1, 2, tzinfo=UTC)
ADVICE = '. Change the dates in the dag, or set logical_date = "none" in its [[tools]] entry: Airflow then ignores them'


def a_task(
    task_id: str = "t",
    *downstream: str,
    start: datetime | None = None,
    end: datetime | None = None,
    rule: str = "all_success",
) -> Task:
    return Task(task_id, frozenset(downstream), rule, start_date=start, end_date=end)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (a_task(), ""),
        (a_task(start=BEFORE, end=AFTER), ""),
        (a_task(start=NOW, end=NOW), ""),
        (a_task(start=AFTER), "its start_date is 2030-01-02T00:00:00+00:00"),
        (a_task(end=BEFORE), "its end_date was 2029-12-31T00:00:00+00:00"),
    ],
)
def test_a_run_has_no_instance_of_a_task_outside_its_dates(task: Task, reason: str) -> None:
    assert str(excluding_date(task, NOW) or "") == reason
    assert excluding_date(task, None) is None


@pytest.mark.parametrize(
    ("tasks", "wanted", "named"),
    [
        pytest.param([a_task("a", "b"), a_task("b", end=BEFORE)], (), ["b"], id="the only leaf"),
        pytest.param([a_task("a"), a_task("b", end=BEFORE)], (), [], id="one of two leaves"),
        pytest.param([a_task("a", "b", end=BEFORE), a_task("b")], (), [], id="no leaf"),
        pytest.param([a_task("a", "b"), a_task("b", end=BEFORE)], ("a",), [], id="not wanted"),
        pytest.param([a_task("a"), a_task("b", end=BEFORE)], ("a", "b"), ["b"], id="one of the wanted"),
        pytest.param([a_task(name, end=BEFORE) for name in "abc"], (), ["a", "b", "c"], id="all of three leaves"),
        pytest.param([a_task("a")], ("gone",), [], id="wanted but missing"),
        pytest.param([a_task("a", rule="all_done_setup_success", end=BEFORE)], (), ["a"], id="only clean-up"),
    ],
)
def test_dag_has_no_result_if_the_deciding_tasks_do_not_run(
    tasks: list[Task], wanted: tuple[str, ...], named: list[str]
) -> None:
    reasons = "; ".join(f"task {task_id!r}: its end_date was 2029-12-31T00:00:00+00:00" for task_id in named)
    expected = f"its runs would leave out what makes the result ({reasons}){ADVICE}" if named else None
    assert reason_for_no_result(tasks, wanted, NOW) == expected
    assert reason_for_no_result(tasks, wanted, None) is None


def test_dag_without_tasks_has_no_result() -> None:
    assert reason_for_no_result([], (), None) == "it has no tasks"


def test_the_reason_names_a_few_tasks_and_counts_the_others() -> None:
    tasks = [a_task(f"t{number}", end=BEFORE) for number in range(5)]
    reason = reason_for_no_result(tasks, (), NOW)
    assert reason is not None
    assert reason.count("task 't") == 3
    assert "; and 2 more). Change" in reason
