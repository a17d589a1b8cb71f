"""A file cache of the dags, so that a restarted server lists its tools immediately.

Nothing depends on the file: if it is missing or unreadable, the tools are listed once Airflow has answered.
"""

import contextlib
import logging
import os
import tempfile
from collections.abc import Collection
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from dagcall.airflow import Dag

logger = logging.getLogger(__name__)

DAGS = TypeAdapter(tuple[Dag, ...])


class DagCache:
    """One file of dags.

    Args:
        path: the file; missing folders are created, readable only by this user.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: tuple[Dag, ...] | None = None

    def load(self) -> tuple[Dag, ...]:
        """Return the cached dags, or none."""
        try:
            self._kept = DAGS.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return ()
        except (OSError, ValidationError) as error:
            logger.info("the cache %s is unusable and will be rewritten: %s", self._path, str(error).splitlines()[0])
            return ()
        return self._kept

    def keep(self, dags: Collection[Dag]) -> None:
        """Write the dags if they have changed. If writing fails, the next start only takes longer."""
        wanted = tuple(sorted(dags, key=lambda dag: dag.dag_id))
        if wanted == self._kept:
            return
        self._kept = wanted
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _replace(self._path, DAGS.dump_json(wanted))
        except OSError as error:
            logger.info("the dags cannot be cached for the next start: %s", error)


def _replace(path: Path, content: bytes) -> None:
    """Write a file atomically. `mkstemp` makes it readable only by this user."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
