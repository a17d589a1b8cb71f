"""The other Python: what it is given, and what is said if it cannot parse dags."""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dagcall.dag_files import DagFiles, read_dag_files
from dagcall.errors import ConfigError

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def a_python(folder: Path, script: str) -> str:
    """Return a program that stands in for a Python with Airflow."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def read(folder: Path, python: str, **environ: str) -> DagFiles:
    path = os.environ["PATH"]  # noqa: TID251 - for the child process
    return read_dag_files(folder, python=python, environ={"PATH": path, **environ}, read_at=NOW)


def test_dags_are_read_from_the_output_of_the_other_python(tmp_path: Path) -> None:
    answer = {"version": "3.2.0", "dags": [], "import_errors": [{"filename": "x.py", "stack_trace": None}]}
    found = read(tmp_path, a_python(tmp_path, f"echo '{json.dumps(answer)}'"))
    assert (found.url, found.airflow, dict(found.dags)) == (str(tmp_path), "3.2.0", {})
    assert [file.name for file in found.broken] == ["x.py"]


def test_the_other_python_gets_the_folder_and_a_database_of_its_own(tmp_path: Path) -> None:
    script = (
        'echo "$2 $AIRFLOW_HOME $AIRFLOW__DATABASE__SQL_ALCHEMY_CONN $AIRFLOW__CORE__LOAD_EXAMPLES" >'
        f" {tmp_path}/seen; exit 1"
    )
    with pytest.raises(ConfigError):
        read(tmp_path, a_python(tmp_path, script), AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="postgresql://production")
    folder, home, database, examples = (tmp_path / "seen").read_text().split()
    assert folder == str(tmp_path)
    assert database == f"sqlite:///{home}/airflow.db"
    assert examples == "False"
    assert not Path(home).exists()


def test_the_other_python_gets_no_secret_of_dagcall(tmp_path: Path) -> None:
    program = a_python(tmp_path, f"env > {tmp_path}/seen; exit 1")
    with pytest.raises(ConfigError):
        read(tmp_path, program, DAGCALL_AIRFLOW_PASSWORD="hunter2", AIRFLOW_VAR_REGION="North")
    seen = (tmp_path / "seen").read_text()
    assert "AIRFLOW_VAR_REGION=North" in seen
    assert "DAGCALL" not in seen


def test_an_own_airflow_home_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        read(tmp_path, a_python(tmp_path, f"echo $AIRFLOW_HOME > {tmp_path}/seen; exit 1"), AIRFLOW_HOME="/own")
    assert (tmp_path / "seen").read_text() == "/own\n"


def test_a_python_without_airflow_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"has no Airflow 3\.1 or newer \(No module named 'airflow'\); name the Python"
    ):
        read(tmp_path, sys.executable)


def test_a_missing_python_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--airflow-python: /none cannot be run: No such file or directory"):
        read(tmp_path, "/none")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--dags: there is no folder "):
        read(tmp_path / "none", sys.executable)


@pytest.mark.parametrize("printed", ["nonsense", "{}", '{"version": 3, "dags": [{"details": 1}], "import_errors": []}'])
def test_an_unusable_output_is_reported_with_what_was_said(tmp_path: Path, printed: str) -> None:
    program = a_python(tmp_path, f"echo '{printed}'; echo 'Traceback\nSystemExit: 7' >&2; exit 7")
    with pytest.raises(ConfigError, match="it ended with exit code 7 and the words: SystemExit: 7"):
        read(tmp_path, program)
