"""Where dags come from, for whoever makes tools of them: Airflow's REST API, or dag files (`dagcall.dag_files`)."""

from datetime import datetime
from typing import Protocol

from dagcall.airflow.client import DagQuery
from dagcall.airflow.gate import Purpose
from dagcall.airflow.import_errors import ImportErrors
from dagcall.airflow.model import Dag, DagSummary, DagVersion, Task


class DagSource(Protocol):
    """Shows dags. `AirflowApi` says what each method returns and raises."""

    @property
    def url(self) -> str:
        """The address or the folder, for messages."""

    @property
    def has_account(self) -> bool:
        """Whether it shows only what dagcall's account may see."""

    def now(self) -> datetime:
        """Return the current time by the clock of what runs the dags."""

    async def fetch_version(self) -> tuple[int, ...]: ...  # noqa: D102 - as in AirflowApi, like all that follow

    async def fetch_dags(self, query: DagQuery) -> tuple[DagSummary, ...]: ...  # noqa: D102

    async def count_dags(self) -> int: ...  # noqa: D102

    async def fetch_versions(self, *, since: str | None = None) -> tuple[DagVersion, ...]: ...  # noqa: D102

    async def fetch_ignores_conf(self) -> bool: ...  # noqa: D102

    async def fetch_summary(self, dag_id: str) -> DagSummary: ...  # noqa: D102

    async def fetch_dag(self, dag_id: str) -> Dag: ...  # noqa: D102

    async def fetch_tasks(self, dag_id: str, *, purpose: Purpose = ...) -> tuple[Task, ...]: ...  # noqa: D102

    async def fetch_import_errors(self) -> ImportErrors: ...  # noqa: D102
