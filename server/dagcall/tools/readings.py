"""What was read of each dag, and which dags are to be reread. Pure.

The list of dags shows most changes, and dag versions show most others. What remains is a dag whose newest version
Airflow rewrites in place, because no run has used it yet: only its details show that. Such a change needs a new parse
of the dag's file, so a dag is not reread while the list shows the same `parsed_at`. But Airflow parses all files again
and again, so most rereads find nothing, and large catalogs do a few of them at each refresh.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from dagcall.airflow import Dag, DagSummary, DagVersion


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a dag."""

    dag: Dag
    listed: DagSummary
    """How the dag was listed before it was read: what the list shows later is compared with this."""
    turn: int
    """Which reading this was, counted over all dags."""


class Readings:
    """What was read of each dag."""

    def __init__(self) -> None:
        self._readings: dict[str, Reading] = {}
        self._turn = 0

    def __getitem__(self, dag_id: str) -> Reading:
        return self._readings[dag_id]

    def keep(self, dag: Dag, listed: DagSummary) -> None:
        """Keep what was just read."""
        self._turn += 1
        self._readings[dag.dag_id] = Reading(dag, listed, self._turn)

    def forget(self, dag_id: str) -> None:
        """Let a dag be reread at the next refresh."""
        self._readings.pop(dag_id, None)

    def forget_others(self, dag_ids: Collection[str]) -> None:
        """Forget the dags that are not among these."""
        self._readings = {dag_id: reading for dag_id, reading in self._readings.items() if dag_id in dag_ids}

    def forget_outdated(self, versions: Iterable[DagVersion]) -> None:
        """Forget the dags of which these versions are newer than what was read."""
        for version in versions:
            reading = self._readings.get(version.dag_id)
            if reading is not None and version.number > (reading.dag.version or 0):
                self.forget(version.dag_id)

    def due(self, listed: Mapping[str, DagSummary], rereads: int, cost: Callable[[str], int]) -> list[str]:
        """Return the dags to read now.

        These are the dags that were not read or are listed differently now. Then those that may have changed, the
        longest unread first, as far as `rereads` allows; and in any case the one that was read the longest time ago.

        Args:
            listed: the dags as they are listed now.
            rereads: how many requests may reread dags that only may have changed.
            cost: how many requests it takes to reread a dag.
        """
        unread = [dag_id for dag_id, summary in listed.items() if self._is_outdated(dag_id, summary)]
        read = sorted(listed.keys() - unread, key=lambda dag_id: self._readings[dag_id].turn)
        reread: list[str] = []
        for number, dag_id in enumerate(read):
            if number and not self._may_have_changed(listed[dag_id]):
                continue
            rereads -= cost(dag_id)
            if rereads < 0 and reread:
                break
            reread.append(dag_id)
        return unread + reread

    def _is_outdated(self, dag_id: str, summary: DagSummary) -> bool:
        reading = self._readings.get(dag_id)
        return reading is None or reading.listed != summary

    def _may_have_changed(self, summary: DagSummary) -> bool:
        parsed_at = self._readings[summary.dag_id].listed.parsed_at
        return parsed_at is None or parsed_at != summary.parsed_at
