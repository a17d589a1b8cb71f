"""`dagcall pin`, `check` and `lint` with `--dags`: a real Airflow's Python, no server, no log-in."""

import json
import shutil
from pathlib import Path

import pytest

from dagcall.demo.stack import DAGS as DEMO_DAGS
from dagcall.demo.stack import dag_files
from tests.dag_files.conftest import NEWEST, VERSIONS, PythonOf, dagcall
from tests.fake_airflow import Version

DAGS = Path(__file__).parent / "dags"
PINS = Path(__file__).parents[2] / "tool_schemas"
DEMO_DAG_IDS = ",".join(sorted(Path(name).stem for name in dag_files(DEMO_DAGS)))

every_version = pytest.mark.parametrize("version", VERSIONS)


@every_version
def test_pin_writes_what_a_server_would_publish(python_of: PythonOf, tmp_path: Path, version: Version) -> None:
    """`tool_schemas/` was pinned from a running Airflow; `tests/commands/test_tool_schemas.py` compares them."""
    done = dagcall(python_of(version), DEMO_DAGS, "pin", folder=tmp_path, allowed=DEMO_DAG_IDS)
    assert (done.returncode, done.stderr) == (0, "")
    written = {path.name: path.read_text() for path in (tmp_path / "tool_schemas").iterdir()}
    assert written == {path.name: path.read_text() for path in PINS.glob("*.json")}


def test_check_names_the_tool_that_a_change_would_alter(python_of: PythonOf, tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    shutil.copytree(DEMO_DAGS, dags)
    same = dagcall(python_of(NEWEST), dags, "check", "--dir", str(PINS), folder=tmp_path, allowed=DEMO_DAG_IDS)
    changed = dags / "slow_steps.py"
    changed.write_text(changed.read_text().replace('description="', 'description="Sleeps. '))
    other = dagcall(python_of(NEWEST), dags, "check", "--dir", str(PINS), folder=tmp_path, allowed=DEMO_DAG_IDS)

    assert (same.returncode, same.stderr) == (0, "")
    assert other.returncode == 1
    assert other.stdout.startswith("slow_steps:")
    assert "Sleeps." in other.stdout
    assert "1 tool differs from its pin" in other.stderr


def test_lint_finds_little_in_the_demos_dags(python_of: PythonOf, tmp_path: Path) -> None:
    done = dagcall(python_of(NEWEST), DEMO_DAGS, "lint", "--json", folder=tmp_path, allowed=DEMO_DAG_IDS)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    # Plain defaults, on purpose: Airflow keeps no schema for them.
    assert [(finding["subject"], finding["rule"], finding["what"]) for finding in found["findings"]] == [
        ("score_many", "open-object", "param extra_words: takes any object, so a model must guess the keys"),
        ("summarize_text", "open-list", "param focus: takes a list of anything, so a model must guess the items"),
    ]
    assert found["tokens"]["tools"].keys() == {path.stem for path in PINS.glob("*.json")}


@every_version
def test_lint_reports_broken_files_and_dags_that_are_not_published(
    python_of: PythonOf, tmp_path: Path, version: Version
) -> None:
    done = dagcall(python_of(version), DAGS, "lint", "--json", folder=tmp_path, allowed="guessing,no_tasks")
    assert done.returncode == 1, done.stderr
    findings = json.loads(done.stdout)["findings"]
    assert {(finding["subject"], finding["level"], finding["rule"]) for finding in findings} == {
        ("broken.py", "error", "broken-file"),
        ("not_storable.py", "error", "broken-file"),
        ("no_tasks", "error", "withheld"),
        ("guessing", "warning", "no-description"),
        ("guessing", "warning", "undescribed-param"),
        ("guessing", "warning", "untyped-param"),
        ("guessing", "warning", "open-object"),
    }
    broken = next(finding["what"] for finding in findings if finding["subject"] == "broken.py")
    assert broken == "Airflow cannot import it: line 6: RuntimeError: this dag file is broken on purpose"


def test_lint_shows_a_table(python_of: PythonOf, tmp_path: Path) -> None:
    done = dagcall(python_of(NEWEST), DAGS, "lint", folder=tmp_path, allowed="guessing")
    assert done.returncode == 1
    assert "printed while" not in done.stdout
    shown = " ".join(done.stdout.replace("│", " ").split())
    assert "guessing warning: no-description no description: a model knows only its name" in shown
    assert "2 errors, 4 warnings" in shown


def test_strict_counts_warnings(python_of: PythonOf, tmp_path: Path) -> None:
    words = ("lint", "--strict")
    assert dagcall(python_of(NEWEST), DEMO_DAGS, *words, folder=tmp_path, allowed="slow_steps").returncode == 0
    assert dagcall(python_of(NEWEST), DEMO_DAGS, *words, folder=tmp_path, allowed="score_many").returncode == 1


def test_pin_keeps_pins_while_files_are_broken(python_of: PythonOf, tmp_path: Path) -> None:
    pins = tmp_path / "tool_schemas"
    pins.mkdir()
    (pins / "broken.json").write_text("{}")
    done = dagcall(python_of(NEWEST), DAGS, "pin", "--prune", folder=tmp_path, allowed="guessing,broken")
    assert done.returncode == 1
    assert "broken.py: Airflow cannot import it: line 6: RuntimeError: this dag file is broken" in done.stderr
    assert "kept, because Airflow cannot import every file: tool_schemas/broken.json" in done.stdout
    assert (pins / "guessing.json").exists()


def test_a_python_without_airflow_could_not_look(tmp_path: Path) -> None:
    python = Path(shutil.which("python3") or "python3")
    done = dagcall(python, DAGS, "lint", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "has no Airflow 3.1 or newer" in done.stderr


@every_version
def test_variables_come_from_the_environment(python_of: PythonOf, tmp_path: Path, version: Version) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "regions.py").write_text(
        "from airflow.providers.standard.operators.empty import EmptyOperator\n"
        "from airflow.sdk import DAG, Variable\n"
        "import helper\n"
        "with DAG(Variable.get('region'), schedule=None, description=helper.TEXT):\n"
        "    EmptyOperator(task_id='nothing')\n"
    )
    (dags / "helper.py").write_text("TEXT = 'Sells things.'\n")
    without = dagcall(python_of(version), dags, "pin", folder=tmp_path)
    given = dagcall(python_of(version), dags, "pin", folder=tmp_path, AIRFLOW_VAR_REGION="north")

    assert without.returncode == 1
    assert "regions.py: Airflow cannot import it: line 4: " in without.stderr
    assert "Variable region not found" in without.stderr
    assert given.returncode == 0, given.stderr
    assert "Sells things." in (tmp_path / "tool_schemas" / "north.json").read_text()
