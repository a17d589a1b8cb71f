"""The dags as they were last read, kept in a file: a restarted server lists its tools at once.

Nothing depends on the file: without it, or with one that cannot be read, the tools are listed once Airflow was asked.
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
        path: where; folders are made as needed, for nobody but this user to read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: tuple[Dag, ...] | None = None

    def load(self) -> tuple[Dag, ...]:
        """Return the dags that were kept, or none."""
        try:
            self._kept = DAGS.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return ()
        except (OSError, ValidationError) as error:
            logger.info("%s is of no use and is written anew: %s", self._path, str(error).splitlines()[0])
            return ()
        return self._kept

    def keep(self, dags: Collection[Dag]) -> None:
        """Write the dags unless they are there already. Where nothing can be written, the next start takes longer."""
        wanted = tuple(sorted(dags, key=lambda dag: dag.dag_id))
        if wanted == self._kept:
            return
        self._kept = wanted
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _replace(self._path, DAGS.dump_json(wanted))
        except OSError as error:
            logger.info("the tools are not remembered until the next start: %s", error)


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever reads half of it. `mkstemp` makes it for this user only."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
