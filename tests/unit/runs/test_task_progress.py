"""How far a run is: the numbers, and the words."""

from datetime import UTC, datetime

import pytest

from dagcall.airflow.model import Task, TaskInstance
from dagcall.runs.task_progress import are_ready, first_to_start, is_lost, not_started, task_progress, usual_seconds

NOON = datetime(2026, 11, 22, 12, 0, 5, tzinfo=UTC)


def at(state: str | None, task_id: str = "fit", map_index: int = -1, ready_at: datetime | None = None) -> TaskInstance:
    return TaskInstance(task_id, map_index, state, try_number=1, max_tries=2, pool="gpu", ready_at=ready_at)


@pytest.mark.parametrize(
    ("instances", "doing"),
    [
        pytest.param([], "", id="nothing is there"),
        pytest.param([at(None), at("success")], "", id="between two tasks"),
        pytest.param([at("running", map_index=2), at("restarting", "report")], "running: fit[2], report", id="running"),
        pytest.param(
            [at("running", map_index=index) for index in range(5)],
            "running: fit[0], fit[1], fit[2] and 2 more",
            id="many",
        ),
        pytest.param([at("awaiting_input", "approve")], "waiting for a person: approve", id="a person"),
        pytest.param([at("deferred", "file")], "waiting for an external event: file", id="an event"),
        pytest.param([at("up_for_retry")], "failed, will be retried: fit", id="a retry"),
        pytest.param(
            [at("scheduled", ready_at=NOON), at("running", "a")],
            "running: a; waiting for the scheduler (pool gpu) since 12:00:05 UTC: fit",
            id="a slot",
        ),
        pytest.param([at("queued")], "waiting for a worker: fit", id="a worker, since nobody knows when"),
    ],
)
def test_what_goes_on_in_words(instances: list[TaskInstance], doing: str) -> None:
    assert task_progress(instances).doing == doing


def test_what_is_finished_and_known() -> None:
    states = ["success", "failed", "skipped", "upstream_failed", "removed", "running", None]
    sight = task_progress([at(state) for state in states])
    assert (sight.finished, sight.known) == (5, 7)


def test_a_result_is_lost_when_a_vital_task_failed_for_good() -> None:
    instances = [at("failed", "a"), at("up_for_retry", "b"), at("upstream_failed", "c")]
    assert is_lost(instances, {"a"})
    assert is_lost(instances, {"c"})
    assert not is_lost(instances, {"b", "d"})


@pytest.mark.parametrize(
    ("states", "ready"),
    [
        pytest.param(["success"], True, id="succeeded"),
        pytest.param(["success", "skipped"], True, id="one of a mapped task skipped"),
        pytest.param(["success", "running"], False, id="one still runs"),
        pytest.param(["failed"], False, id="failed"),
        pytest.param([], False, id="not there"),
    ],
)
def test_results_are_ready_when_all_their_tasks_have_ended_well(states: list[str], *, ready: bool) -> None:
    assert are_ready([at("running", "other"), *(at(state) for state in states)], {"fit"}) == ready


def test_no_tasks_are_never_ready() -> None:
    assert not are_ready([at("success")], ())


def test_the_usual_duration_is_the_median_of_enough_runs() -> None:
    assert usual_seconds([1.0, 2.0]) is None
    assert usual_seconds([1.0, 90.0, 2.0]) == 2.0


@pytest.mark.parametrize("state", ["running", "queued", "deferred", "up_for_retry", "awaiting_input"])
def test_where_something_goes_on_nothing_is_stuck(state: str) -> None:
    assert not_started([at(None, "a"), at(state, "b")]) == []


def test_what_is_due_to_start_comes_first() -> None:
    instances = [at(None, "a"), at("scheduled", "c"), at("success", "b"), at("scheduled", "c", 0)]
    assert not_started(instances) == [instances[1], instances[3], instances[0]]


def test_what_waits_for_another_task_is_not_the_first_to_start() -> None:
    tasks = [Task("a", frozenset({"b"}), None), Task("b", frozenset({"c"}), None), Task("c", frozenset(), None)]
    mapped = [at("scheduled", "b", 0), at("scheduled", "b", 1)]
    assert first_to_start([at("success", "a"), *mapped, at(None, "c")], tasks) == mapped[:1]
