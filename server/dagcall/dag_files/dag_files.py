"""What was read from a folder of dag files, with the questions that Airflow's REST API would answer.

Pure. Files do not say whether a dag is paused in Airflow: all count as unpaused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from dagcall.airflow import BrokenFile, Dag, DagQuery, DagSummary, DagVersion, ImportErrors, Purpose, Task
from dagcall.errors import AirflowNotFound
from dagcall.plain_json import Json


@dataclass(frozen=True, slots=True)
class DagFiles:
    """The dags of a folder."""

    url: str
    """The folder, for messages."""
    airflow: str
    """The version of the Airflow that parsed them."""
    dags: Mapping[str, Dag]
    """By id, sorted."""
    tasks: Mapping[str, tuple[Task, ...]]
    broken: Sequence[BrokenFile]
    """The files that Airflow cannot import, or whose dags it cannot store."""
    read_at: datetime

    @classmethod
    def from_json(cls, data: Mapping[str, Json], *, folder: str, read_at: datetime) -> Self:
        """Read what `parse_dags.py` prints.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: it is something else.
        """
        dags = [Dag.from_json(dag["details"]) for dag in data["dags"]]
        tasks = [tuple(Task.from_json(task) for task in dag["tasks"]) for dag in data["dags"]]
        return cls(
            url=folder,
            airflow=data["version"],
            dags={dag.dag_id: dag for dag in dags},
            tasks={dag.dag_id: its for dag, its in zip(dags, tasks, strict=True)},
            broken=[BrokenFile.from_json(item) for item in data["import_errors"]],
            read_at=read_at,
        )

    @property
    def has_account(self) -> bool:
        """Files are all visible."""
        return False

    def now(self) -> datetime:
        """Return when the files were read."""
        return self.read_at

    async def fetch_version(self) -> tuple[int, ...]:
        """Return Airflow's version, e.g. `(3, 3, 2)`."""
        return tuple(int(part) for part in self.airflow.split(".")[:3] if part.isdecimal())

    async def fetch_dags(self, query: DagQuery) -> tuple[DagSummary, ...]:  # noqa: ARG002 - answers are filtered again
        """Return all dags, sorted by id."""
        return tuple(dag.summary for dag in self.dags.values())

    async def count_dags(self) -> int:
        """Return how many dags there are."""
        return len(self.dags)

    async def fetch_versions(self, *, since: str | None = None) -> tuple[DagVersion, ...]:  # noqa: ARG002 - there are none
        """Return nothing: Airflow numbers versions when it stores dags."""
        return ()

    async def fetch_ignores_conf(self) -> bool:
        """Return False: the configuration of the Airflow that will run the dags is not known here."""
        return False

    async def fetch_summary(self, dag_id: str) -> DagSummary:
        """Return a dag without its params.

        Raises:
            AirflowNotFound: no file defines it.
        """
        return (await self.fetch_dag(dag_id)).summary

    async def fetch_dag(self, dag_id: str) -> Dag:
        """Return a dag.

        Raises:
            AirflowNotFound: no file defines it.
        """
        try:
            return self.dags[dag_id]
        except KeyError as error:
            raise AirflowNotFound(f"no file in {self.url} defines dag {dag_id!r}") from error

    async def fetch_tasks(self, dag_id: str, *, purpose: Purpose = Purpose.DISCOVERY) -> tuple[Task, ...]:  # noqa: ARG002 - nothing is sent
        """Return the tasks of a dag."""
        return self.tasks[dag_id]

    async def fetch_import_errors(self) -> ImportErrors:
        """Return the broken files."""
        return ImportErrors(self.broken, len(self.broken))
