"""`parse_dags.py` prints what a real Airflow's REST API returns for the same files."""

import json
import subprocess
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from dagcall.dag_files.reading import SCRIPT
from tests.contract.conftest import AIRFLOWS
from tests.contract.real_airflow import DAGS, RealAirflow
from tests.support.commands import clean_environ
from tests.support.plain_http import PLAIN

pytestmark = pytest.mark.parametrize("airflow", [name for name in AIRFLOWS if name.startswith("real")], indirect=True)

NOT_IN_FILES = frozenset({"is_paused", "last_parsed_time", "latest_dag_version"})
"""What only Airflow's database has."""


@dataclass(frozen=True)
class Sides:
    """The same dags, from files and from Airflow."""

    printed: dict[str, Any]
    shown: dict[str, Any]
    """Dag id -> its details and tasks."""
    errors: set[str]
    """The files that Airflow reports as broken."""


@pytest.fixture(scope="module")
def sides(airflow: RealAirflow, tmp_path_factory: pytest.TempPathFactory) -> Sides:
    home = tmp_path_factory.mktemp("home")
    environ = clean_environ(AIRFLOW_HOME=str(home), AIRFLOW__CORE__LOAD_EXAMPLES="False")
    done = subprocess.run([airflow.python, SCRIPT, DAGS], env=environ, capture_output=True, check=True)  # noqa: S603 - our own program
    headers = {"Authorization": f"Bearer {airflow.token()}"}
    with httpx.Client(
        base_url=f"{airflow.url}/api/v2", headers=headers, trust_env=False, verify=PLAIN, timeout=120
    ) as http:

        def read(path: str) -> Any:
            return http.get(path).raise_for_status().json()

        printed = json.loads(done.stdout)
        dag_ids = [
            dag["details"]["dag_id"] for dag in printed["dags"] if not dag["details"]["dag_id"].startswith("many_1")
        ]
        shown = {
            dag_id: {"details": read(f"/dags/{dag_id}/details"), "tasks": read(f"/dags/{dag_id}/tasks")["tasks"]}
            for dag_id in dag_ids
        }
        assert read("/dags?limit=1")["total_entries"] == len(printed["dags"])
        return Sides(printed, shown, {error["filename"] for error in read("/importErrors")["import_errors"]})


def test_every_field_that_dagcall_reads_is_the_same(sides: Sides) -> None:
    printed = {dag["details"]["dag_id"]: dag for dag in sides.printed["dags"]}
    assert len(sides.shown) > 20
    for dag_id, shown in sides.shown.items():
        details, tasks = printed[dag_id]["details"], printed[dag_id]["tasks"]
        known = {key: value for key, value in details.items() if key not in NOT_IN_FILES}
        assert known == {key: with_tag_names(key, shown["details"].get(key)) for key in known}, dag_id
        assert list(map(in_order, tasks)) == [
            in_order({key: task[key] for key in tasks[0]}) for task in shown["tasks"]
        ], dag_id


def in_order(task: dict[str, Any]) -> dict[str, Any]:
    """Return a task with its downstream tasks in order: to Airflow, they are a set."""
    return {**task, "downstream_task_ids": sorted(task["downstream_task_ids"])}


def with_tag_names(key: str, value: Any) -> Any:
    """Keep of a tag only what dagcall reads."""
    return [{"name": tag["name"]} for tag in value] if key == "tags" else value


def test_broken_files_are_the_same(sides: Sides) -> None:
    printed = {error["filename"] for error in sides.printed["import_errors"]}
    assert printed == sides.errors == {"broken.py"}
