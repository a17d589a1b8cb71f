"""Dags read from files make the same tools as dags that Airflow shows."""

from datetime import UTC, datetime
from typing import Any

import pytest

from dagcall.airflow import DagQuery
from dagcall.dag_files import DagFiles
from dagcall.errors import AirflowNotFound
from dagcall.tools import Catalog, Snapshot, ToolPolicy

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def a_dag(dag_id: str, *, tags: tuple[str, ...] = (), tasks: tuple[str, ...] = ("it",), **details: Any) -> Any:
    """Return a dag as `parse_dags.py` prints it."""
    return {
        "details": {
            "dag_id": dag_id,
            "dag_display_name": dag_id,
            "description": "It does it.",
            "tags": [{"name": tag} for tag in tags],
            "is_paused": False,
            "is_stale": False,
            "has_import_errors": False,
            "allowed_run_types": None,
            "max_active_runs": 16,
            "last_parsed_time": None,
            "doc_md": None,
            "params": {},
            "latest_dag_version": None,
            **details,
        },
        "tasks": [
            {
                "task_id": task_id,
                "downstream_task_ids": [],
                "trigger_rule": "all_success",
                "is_mapped": False,
                "start_date": None,
                "end_date": "2020-01-01T00:00:00Z" if task_id == "ended" else None,
            }
            for task_id in tasks
        ],
    }


def files(*dags: Any, broken: tuple[tuple[str, str], ...] = ()) -> DagFiles:
    errors = [{"filename": name, "stack_trace": text} for name, text in broken]
    data = {"version": "3.3.2", "dags": list(dags), "import_errors": errors}
    return DagFiles.from_json(data, folder="dags", read_at=NOW)


async def snapshot(source: DagFiles, *policies: dict[str, Any]) -> Snapshot:
    return await Catalog(source, tuple(ToolPolicy(**policy) for policy in policies)).refresh()


def reasons(found: Snapshot) -> dict[str, str]:
    return {item.what: item.reason for item in found.withheld}


@pytest.mark.parametrize(
    ("policy", "names"),
    [({"dag": "b"}, ["b"]), ({"dags": "?"}, ["a", "b"]), ({"tag": "mcp"}, ["b"]), ({"dag": "b", "name": "c"}, ["c"])],
)
async def test_the_allow_list_selects(policy: dict[str, Any], names: list[str]) -> None:
    found = await snapshot(files(a_dag("a"), a_dag("b", tags=("mcp",))), policy)
    assert list(found.tools) == names
    assert found.problem is None


async def test_many_named_dags_are_found() -> None:
    dags = [a_dag(f"dag_{number:03}") for number in range(60)]
    found = await snapshot(files(*dags), *({"dag": dag["details"]["dag_id"]} for dag in dags))
    assert len(found.tools) == 60


async def test_what_airflow_would_withhold_is_withheld() -> None:
    source = files(
        a_dag("empty", tasks=()),
        a_dag("ended", tasks=("ended",)),
        a_dag("scheduled", allowed_run_types=["scheduled"]),
        a_dag("unknown_task"),
    )
    found = reasons(await snapshot(source, {"dag": "unknown_task", "results": ["itt"]}, {"dags": "*"}))
    assert found["empty"] == "it has no tasks"
    assert found["ended"].startswith("its runs would leave out what makes the result (task 'ended': its end_date was")
    assert found["scheduled"] == "its author does not allow manual runs (allowed_run_types)"
    assert found["unknown_task"] == "results names task 'itt', which the dag does not have; did you mean 'it'?"


async def test_a_missing_dag_is_explained_by_a_broken_file() -> None:
    source = files(a_dag("a"), broken=(("sales_report.py", "Traceback …\nNameError: name 'x' is not defined"),))
    found = reasons(await snapshot(source, {"dag": "a"}, {"dag": "sales_report"}, {"tag": "mcp"}))
    assert found == {
        "sales_report": "no dag file defines it. The file sales_report.py does not import in Airflow: "
        "NameError: name 'x' is not defined",
        'tag = "mcp"': "selects no dag of the dag files. Look into Airflow's import errors, too: 1 file does not "
        "import (sales_report.py)",
    }


async def test_a_source_answers_as_airflow_does() -> None:
    source = files(a_dag("a"))
    assert await source.fetch_version() == (3, 3, 2)
    assert await source.count_dags() == 1
    assert [dag.dag_id for dag in await source.fetch_dags(DagQuery(tag="mcp"))] == ["a"]
    assert await source.fetch_versions() == ()
    assert not await source.fetch_ignores_conf()
    assert source.now() == NOW
    with pytest.raises(AirflowNotFound, match="no file in dags defines dag 'b'"):
        await source.fetch_dag("b")
