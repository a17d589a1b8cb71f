"""The progress of a run, as numbers and as text."""

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
        pytest.param([], "", id="no task instances"),
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
        pytest.param([at("queued")], "waiting for a worker: fit", id="a worker, since an unknown time"),
    ],
)
def test_progress_text_describes_the_active_task_instances(instances: list[TaskInstance], doing: str) -> None:
    assert task_progress(instances).doing == doing


def test_finished_and_known_task_instances_are_counted() -> None:
    states = ["success", "failed", "skipped", "upstream_failed", "removed", "running", None]
    progress = task_progress([at(state) for state in states])
    assert (progress.finished, progress.known) == (5, 7)


def test_result_is_lost_if_a_required_task_has_failed_for_good() -> None:
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
def test_results_are_ready_when_all_their_tasks_succeeded_or_were_skipped(states: list[str], *, ready: bool) -> None:
    assert are_ready([at("running", "other"), *(at(state) for state in states)], {"fit"}) == ready


def test_empty_set_of_tasks_is_never_ready() -> None:
    assert not are_ready([at("success")], ())


def test_the_usual_duration_is_the_median_of_enough_runs() -> None:
    assert usual_seconds([1.0, 2.0]) is None
    assert usual_seconds([1.0, 90.0, 2.0]) == 2.0


@pytest.mark.parametrize("state", ["running", "queued", "deferred", "up_for_retry", "awaiting_input"])
def test_run_with_an_active_task_instance_is_not_stuck(state: str) -> None:
    assert not_started([at(None, "a"), at(state, "b")]) == []


def test_scheduled_task_instances_come_first() -> None:
    instances = [at(None, "a"), at("scheduled", "c"), at("success", "b"), at("scheduled", "c", 0)]
    assert not_started(instances) == [instances[1], instances[3], instances[0]]


def test_first_task_to_start_waits_for_no_other_task() -> None:
    tasks = [Task("a", frozenset({"b"}), None), Task("b", frozenset({"c"}), None), Task("c", frozenset(), None)]
    mapped = [at("scheduled", "b", 0), at("scheduled", "b", 1)]
    assert first_to_start([at("success", "a"), *mapped, at(None, "c")], tasks) == mapped[:1]
