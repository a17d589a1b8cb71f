"""The allow-list and Airflow's dags -> which entry selects which dag.

If Airflow does not answer for one entry of the allow-list, the tools of that entry stay.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from dagcall.airflow import PAGE, DagQuery, DagSource, DagSummary, import_hint
from dagcall.errors import (
    AirflowError,
    AirflowLogInRefused,
    AirflowNotFound,
    AirflowRefused,
    AirflowRejected,
    CircuitOpen,
)
from dagcall.masking import Masker
from dagcall.tools.policy import ToolPolicy
from dagcall.tools.snapshot import Snapshot, Withheld, WithheldKind
from dagcall.tools.tool import Tool

logger = logging.getLogger(__name__)

NO_SUCH_DAG = "there is no such dag in Airflow, or dagcall's account may not see it"
SELECTS_NOTHING = "selects no dag that dagcall's account can see"
NOT_SHOWN = "Airflow does not show it to dagcall's account"
NO_SUCH_DAG_IN_FILES = "no dag file defines it"
SELECTS_NOTHING_IN_FILES = "selects no dag of the dag files"
NOT_THERE = (NO_SUCH_DAG, SELECTS_NOTHING, NOT_SHOWN, NO_SUCH_DAG_IN_FILES, SELECTS_NOTHING_IN_FILES)
"""Reasons that may be caused by a file that Airflow cannot import."""
NAMED_ONE_BY_ONE = 5
"""Up to how many dags that the allow-list names are asked for one by one; more are looked up in the list of all."""


class Selection:
    """Finds the dags that the allow-list selects.

    Args:
        source: shows the dags: Airflow, or dag files.
        policies: the allow-list.
    """

    def __init__(self, source: DagSource, policies: tuple[ToolPolicy, ...]) -> None:
        self._source = source
        self._policies = policies
        self.requests = 0
        """How many requests the last selection took."""

    async def select(self, last: Snapshot) -> tuple[list[tuple[DagSummary, ToolPolicy]], list[Tool], list[Withheld]]:
        """Return each selected dag with its entry, the tools that stay unchanged, and what is withheld.

        Args:
            last: what was found before; the tools of an entry stay if Airflow does not answer for it.

        Raises:
            AirflowError: no entry could be read.
        """
        self.requests = 0
        named = await self._named()
        selected: list[tuple[ToolPolicy, Collection[DagSummary]]] = []
        kept: list[Tool] = []
        withheld: list[Withheld] = []
        failures: list[AirflowError] = []
        no_such_dag = NO_SUCH_DAG if self._source.has_account else NO_SUCH_DAG_IN_FILES
        selects_nothing = SELECTS_NOTHING if self._source.has_account else SELECTS_NOTHING_IN_FILES
        for policy in self._policies:
            dags: tuple[DagSummary, ...] = ()
            kind: WithheldKind = "missing"
            try:
                dags = await self._selected_by(policy, named)
                reason = None if dags else selects_nothing
            except (CircuitOpen, AirflowLogInRefused):  # other entries would fail likewise
                raise
            except AirflowNotFound:
                reason = no_such_dag
            except (
                AirflowRefused,
                AirflowRejected,
            ) as error:  # with some rights, 403 also for a dag that does not exist
                failures.append(error)
                reason, kind = f"{NOT_SHOWN}: {error}", "hidden"
            except AirflowError as error:
                failures.append(error)
                stays = [tool for tool in last.tools.values() if tool.entry == policy]
                kept += stays
                kind = "unreadable"
                reason = f"it could not be read: {error}" + ("; what it selects stays as it was" if stays else "")
            selected.append((policy, dags))
            if reason:
                withheld.append(Withheld(policy.dag or policy.selector, reason, kind))
        if len(failures) == len(self._policies) and failures:
            raise failures[0]
        return list(allotted(selected)), kept, await self._with_import_hints(withheld)

    async def _with_import_hints(self, withheld: list[Withheld]) -> list[Withheld]:
        """Add hints from Airflow's import errors about missing dags; one request for all."""
        if not any(item.reason.startswith(NOT_THERE) for item in withheld):
            return withheld
        self.requests += 1
        try:
            errors = await self._source.fetch_import_errors()
        except AirflowError as error:
            logger.debug("Airflow's import errors could not be read: %s", error)
            return withheld
        named = {policy.dag for policy in self._policies}
        return [
            replace(item, reason=item.reason + import_hint(errors, item.what if item.what in named else None, Masker()))
            if item.reason.startswith(NOT_THERE)
            else item
            for item in withheld
        ]

    async def _named(self) -> dict[str, DagSummary]:
        """Return the dags that entries name, as far as the list of all dags is the cheaper way to find them."""
        named = {policy.dag for policy in self._policies if policy.dag is not None}
        if len(named) <= NAMED_ONE_BY_ONE:
            return {}
        self.requests += 1
        try:
            if await self._source.count_dags() > PAGE * len(named):
                return {}
            return {dag.dag_id: dag for dag in await self._listed(DagQuery()) if dag.dag_id in named}
        except (CircuitOpen, AirflowLogInRefused):
            raise
        except AirflowError as error:
            logger.debug("the list of all dags could not be read: %s", error)
            return {}

    async def _selected_by(self, policy: ToolPolicy, named: Mapping[str, DagSummary]) -> tuple[DagSummary, ...]:
        if policy.dag is None:
            dags = await self._listed(DagQuery(tag=policy.tag, dag_id_like=_as_like(policy.dags)))
            return tuple(dag for dag in dags if policy.selects(dag))
        if policy.dag in named:
            return (named[policy.dag],)
        self.requests += 1
        return (await self._source.fetch_summary(policy.dag),)

    async def _listed(self, query: DagQuery) -> tuple[DagSummary, ...]:
        dags = await self._source.fetch_dags(query)
        self.requests += max(1, -(-len(dags) // PAGE))
        return dags


def allotted(
    selected: Collection[tuple[ToolPolicy, Collection[DagSummary]]],
) -> Iterator[tuple[DagSummary, ToolPolicy]]:
    """Assign each dag to its entry: those that name it, otherwise the first that selects it."""
    taken = {policy.dag for policy, _ in selected}
    for policy, dags in selected:
        for dag in dags:
            if policy.dag is not None or dag.dag_id not in taken:
                taken.add(dag.dag_id)
                yield dag, policy


def _as_like(pattern: str | None) -> str | None:
    """Return an ILIKE pattern that matches at least the same dag ids."""
    if pattern is None:
        return None
    literal = pattern.split("[", 1)[0]
    return literal.replace("*", "%").replace("?", "_") or None
