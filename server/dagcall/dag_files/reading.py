"""Runs `parse_dags.py` with the Python of another environment, which has Airflow.

That process runs the code of the dag files, as Airflow's dag processor does. It gets this process's environment without
dagcall's secrets, and a database of its own: no dag file reaches the database of an Airflow that the environment names.
"""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from dagcall.dag_files.dag_files import DagFiles
from dagcall.errors import ConfigError
from dagcall.text import in_one_line, last_line, shortened

SCRIPT = Path(__file__).parent / "parse_dags.py"
NO_AIRFLOW = 3
"""The exit code of the script if its Python has no Airflow that it knows."""
MAX_REASON = 600


def read_dag_files(folder: Path, *, python: str, environ: Mapping[str, str], read_at: datetime) -> DagFiles:
    """Parse the dag files of a folder.

    Args:
        folder: the folder, as Airflow's `dags_folder`.
        python: the Python of an environment with Airflow, as a path or a name on PATH.
        environ: the environment for it.
        read_at: the current time.

    Raises:
        ConfigError: the folder is missing, or that Python cannot parse dags.
    """
    if not folder.is_dir():
        raise ConfigError(f"--dags: there is no folder {folder}")
    with tempfile.TemporaryDirectory(prefix="dagcall-") as home:
        try:
            done = subprocess.run(  # noqa: S603 - the user names the program
                [python, str(SCRIPT), str(folder.resolve())],
                env=_environ_for(home, environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        except OSError as error:
            raise ConfigError(f"--airflow-python: {python} cannot be run: {error.strerror}") from error
    said = done.stderr.decode(errors="replace")
    if done.returncode == NO_AIRFLOW:
        raise ConfigError(
            f"--airflow-python: {python} has no Airflow 3.1 or newer ({_end_of(said)}); name the Python of an "
            "environment that has Airflow and what the dag files import"
        )
    try:
        return DagFiles.from_json(json.loads(done.stdout), folder=str(folder), read_at=read_at)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # it was not this script that ended
        raise ConfigError(
            f"the dag files in {folder} could not be parsed with {python}: it ended with exit code {done.returncode} "
            f"and the words: {_end_of(said)}"
        ) from error


def _environ_for(home: str, environ: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in environ.items() if not name.startswith("DAGCALL_")}
    return {
        "AIRFLOW_HOME": home,  # unless it is set: it may have cluster policies, plugins and a configuration
        **inherited,
        "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH": "50",  # deep enough to show the line of the dag file
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "PYTHONDONTWRITEBYTECODE": "1",  # no __pycache__ beside the dag files
    }


def _end_of(text: str) -> str:
    return shortened(in_one_line(last_line(text)), MAX_REASON) or "nothing was said"
