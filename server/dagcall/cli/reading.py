"""What commands read from Airflow, and how they run."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from dagcall.airflow import AirflowApi
from dagcall.cli.terminal import complain
from dagcall.dag_files import DagFiles, read_dag_files
from dagcall.errors import ConfigError
from dagcall.settings import Settings
from dagcall.tools import Catalog, Pins, Snapshot

T = TypeVar("T")


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; Ctrl-C ends the process with code 130."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except ExceptionGroup as group:  # the SDK's client runs in a task group, which wraps every exception
        from dagcall.cli.remote import first_leaf  # noqa: PLC0415 - slow to import

        raise first_leaf(group) from group


def dag_files_in(folder: Path | None, python: str) -> DagFiles | None:
    """Parse the dag files of a folder; None without a folder.

    Raises:
        ConfigError: they cannot be parsed.
    """
    if folder is None:
        return None
    now = datetime.now(UTC)  # noqa: TID251 - the real clock
    return read_dag_files(folder, python=python, environ=os.environ, read_at=now)  # noqa: TID251 - the child's, too


def complain_about_files(files: DagFiles | None) -> bool:
    """Name the files that Airflow cannot import; return whether there are any."""
    for file in files.broken if files else ():
        complain(f"{file.name}: Airflow cannot import it: {file.reason}")
    return files is not None and bool(files.broken)


async def read_snapshot(
    settings: Settings, *, read_pins: Callable[[], Pins] | None = None, files: DagFiles | None = None
) -> Snapshot:
    """Read what is published and what is withheld, from Airflow or from dag files."""
    if files is not None:
        return await Catalog(files, settings.policies, read_pins=read_pins).refresh()

    from dagcall.app import assembled  # noqa: PLC0415 - slow to import

    async with assembled(settings, wait_seconds=0, read_pins=read_pins) as dagcall:
        return await dagcall.catalog.refresh()


@asynccontextmanager
async def airflow_of(settings: Settings) -> AsyncIterator[AirflowApi]:
    """Give a command the Airflow that the settings name, without a request yet."""
    from dagcall.app import assembled  # noqa: PLC0415 - slow to import

    async with assembled(settings, wait_seconds=0) as dagcall:
        yield dagcall.waiter.api


def require_answer(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot.

    Raises:
        ConfigError: Airflow did not answer as the snapshot was made.
    """
    if snapshot.problem:
        raise ConfigError(snapshot.problem)
    return snapshot
