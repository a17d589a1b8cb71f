"""Which dags are to be read, by what the list of dags shows."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dagcall.airflow.model import Dag, DagSummary, DagVersion
from dagcall.tools.readings import Readings

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SUMMARY = DagSummary(
    "", frozenset(), is_paused=False, is_stale=False, has_import_errors=False, allowed_run_types=None, parsed_at=NOON
)
LISTED = {dag_id: replace(SUMMARY, dag_id=dag_id) for dag_id in ("a", "b", "c", "d")}


def read(readings: Readings, *dag_ids: str, listed: Mapping[str, DagSummary] = LISTED, version: int = 1) -> None:
    for dag_id in dag_ids:
        readings.keep(Dag(listed[dag_id], None, (), version), listed[dag_id])


def all_read() -> Readings:
    readings = Readings()
    read(readings, *LISTED)
    return readings


def parsed(*dag_ids: str) -> dict[str, DagSummary]:
    """Return the list once the files of these dags have been parsed again."""
    later = NOON + timedelta(seconds=30)
    return {dag_id: replace(dag, parsed_at=later) if dag_id in dag_ids else dag for dag_id, dag in LISTED.items()}


def due(readings: Readings, listed: Mapping[str, DagSummary] = LISTED, rereads: int = 100, cost: int = 1) -> list[str]:
    return readings.due(listed, rereads, lambda _: cost)


def test_each_dag_is_due_until_it_is_read() -> None:
    readings = Readings()
    read(readings, "b")
    assert due(readings, rereads=0) == ["a", "c", "d", "b"]


def test_dag_whose_file_was_not_parsed_again_is_reread_only_in_its_turn() -> None:
    readings = all_read()
    turns = []
    for _ in range(5):
        (dag_id,) = due(readings)
        turns.append(dag_id)
        read(readings, dag_id)
    assert turns == ["a", "b", "c", "d", "a"]


def test_dag_whose_file_was_parsed_again_is_reread() -> None:
    assert due(all_read(), parsed("c", "d")) == ["a", "c", "d"]


@pytest.mark.parametrize(("rereads", "cost", "expected"), [(3, 1, "abc"), (4, 2, "ab"), (5, 2, "ab"), (1, 2, "a")])
def test_rereads_go_as_far_as_they_may(rereads: int, cost: int, expected: str) -> None:
    assert due(all_read(), parsed(*LISTED), rereads, cost) == list(expected)


def test_dag_that_could_not_be_reread_stays_first() -> None:
    readings = all_read()
    assert due(readings, parsed(*LISTED), 2) == ["a", "b"]
    read(readings, "b", listed=parsed(*LISTED))
    assert due(readings, parsed(*LISTED), 2) == ["a", "c"]


@pytest.mark.parametrize(
    "change", [{"description": "New."}, {"tags": frozenset({"new"})}, {"display_name": "New"}, {"max_active_runs": 1}]
)
def test_dag_that_is_listed_differently_is_due_at_once(change: dict[str, Any]) -> None:
    listed = LISTED | {"d": replace(LISTED["d"], **change)}
    assert due(all_read(), listed, 0) == ["d", "a"]


def test_list_without_parse_times_shows_nothing() -> None:
    listed = {dag_id: replace(dag, parsed_at=None) for dag_id, dag in LISTED.items()}
    readings = Readings()
    read(readings, *listed, listed=listed)
    assert due(readings, listed) == ["a", "b", "c", "d"]


def test_dag_with_a_newer_version_is_due_at_once() -> None:
    readings = all_read()
    readings.forget_outdated([DagVersion("d", 2, "2"), DagVersion("c", 1, "1"), DagVersion("of others", 7, "0")])
    assert due(readings, rereads=0) == ["d", "a"]


def test_forgotten_dags_are_due() -> None:
    readings = all_read()
    readings.forget("b")
    readings.forget("unknown")
    assert due(readings, rereads=0) == ["b", "a"]
    readings.forget_others({"a", "c"})
    assert due(readings, rereads=0) == ["b", "d", "a"]
