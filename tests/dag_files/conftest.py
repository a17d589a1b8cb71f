"""Environments with a real Airflow in three versions, of which no server runs."""

import asyncio
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from dagcall.demo.installation import make_environment
from tests.contract.real_airflow import requirements_of
from tests.fake_airflow import Version
from tests.support.commands import clean_environ, run_dagcall
from tests.support.terminal import terminal_of

VERSIONS: tuple[Version, ...] = get_args(Version)
NEWEST = VERSIONS[-1]

PythonOf = Callable[[Version], Path]


@pytest.fixture(scope="session")
def python_of(request: pytest.FixtureRequest) -> PythonOf:
    """Return the Python of a version's environment; Airflow is installed on first use."""

    @cache
    def python(version: Version) -> Path:
        terminal_of(request.config)(f"Airflow {version}: an environment, created if it does not exist yet")
        requirements = requirements_of(version)
        return asyncio.run(make_environment(f"airflow-{version}", requirements, environ=clean_environ()))

    return python


def dagcall(
    python: Path, dags: Path, *words: str, folder: Path, allowed: str = "*", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command with `--dags`, without an Airflow server and without a log-in."""
    environ = clean_environ(DAGCALL_DAGS=allowed, COLUMNS="150") | more
    return run_dagcall(*words, "--dags", str(dags), "--airflow-python", str(python), environ=environ, folder=folder)
