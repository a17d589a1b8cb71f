"""The allow-list and Airflow's dags -> tools, or the reasons why there are none.

A bad dag affects no other: each selected dag that is not published is kept with the reason. If Airflow does not answer
for one entry of the allow-list, the tools of that entry stay.
"""

import asyncio
import logging
from collections.abc import Collection, Iterator
from dataclasses import replace

from dagcall.airflow import AirflowApi, Dag, DagQuery, DagSummary, Purpose, Task, import_hint, reason_for_no_result
from dagcall.errors import (
    AirflowAnswerUnusable,
    AirflowError,
    AirflowLogInRefused,
    AirflowNotFound,
    AirflowRefused,
    AirflowRejected,
    CircuitOpen,
    ToolUnpublishable,
)
from dagcall.masking import Masker
from dagcall.text import did_you_mean
from dagcall.tools.policy import ToolPolicy
from dagcall.tools.snapshot import Snapshot, Withheld
from dagcall.tools.tool import Tool, tool_from_dag

logger = logging.getLogger(__name__)

NO_SUCH_DAG = "there is no such dag in Airflow, or dagcall's account may not see it"
SELECTS_NOTHING = "selects no dag that dagcall's account can see"
NOT_SHOWN = "Airflow does not show it to dagcall's account"
NOT_THERE = (NO_SUCH_DAG, SELECTS_NOTHING, NOT_SHOWN)
"""Reasons that may be caused by a file that Airflow cannot import."""


class Discovery:
    """Finds the tools.

    Args:
        api: Airflow.
        policies: the allow-list.
    """

    def __init__(self, api: AirflowApi, policies: tuple[ToolPolicy, ...]) -> None:
        self._api = api
        self._policies = policies
        self._last = Snapshot()
        self._conf_counts = False
        """Whether Airflow has confirmed that runs get their conf, or does not show this setting."""
        self._tasks: dict[str, tuple[int | None, tuple[Task, ...]]] = {}
        """Dag id -> a version of the dag, and its tasks in that version."""

    async def find(self, last: Snapshot) -> Snapshot:
        """Return the tools that the allow-list and Airflow's dags make.

        Args:
            last: what was found before; its tools stay where Airflow does not answer.

        Raises:
            AirflowError: no entry of the allow-list could be read.
        """
        self._last = last
        ignores_conf = await self._ignores_conf()
        selected, kept, withheld = await self._select()
        outcomes = await asyncio.gather(*(self._publish(summary, policy) for summary, policy in selected))
        if ignores_conf:
            outcomes = [_without_arguments(outcome) for outcome in outcomes]
            kept = [tool for tool in kept if isinstance(_without_arguments(tool), Tool)]
        tools: dict[str, Tool] = {}
        for outcome in (*outcomes, *kept):
            if isinstance(outcome, Withheld):
                withheld.append(outcome)
            elif outcome.name in tools:
                other = tools[outcome.name].dag_id
                withheld.append(
                    Withheld(
                        outcome.dag_id, f"its tool name {outcome.name!r} is taken by dag {other!r}; give it a name"
                    )
                )
            else:
                tools[outcome.name] = outcome
                withheld += (
                    Withheld(
                        f"{outcome.dag_id}: {item.what}", f"{_sentence(item.reason)} The tool is published without it"
                    )
                    for item in outcome.left_out
                )
        return Snapshot(dict(sorted(tools.items())), tuple(sorted(withheld, key=lambda item: item.what)))

    async def _ignores_conf(self) -> bool:
        """Return whether Airflow ignores the arguments of every call; False unless it says so."""
        if self._conf_counts:
            return False
        try:
            ignores = await self._api.fetch_ignores_conf()
        except (CircuitOpen, AirflowLogInRefused):
            raise
        except (AirflowRefused, AirflowRejected, AirflowNotFound, AirflowAnswerUnusable):
            ignores = False  # most Airflows do not show it
        except AirflowError:
            return False
        self._conf_counts = not ignores
        return ignores

    async def _select(self) -> tuple[list[tuple[DagSummary, ToolPolicy]], list[Tool], list[Withheld]]:
        """Return each selected dag with its entry, the tools that stay unchanged, and what is withheld.

        Raises:
            AirflowError: no entry could be read.
        """
        selected: list[tuple[ToolPolicy, Collection[DagSummary]]] = []
        kept: list[Tool] = []
        withheld: list[Withheld] = []
        failures: list[AirflowError] = []
        for policy in self._policies:
            dags: tuple[DagSummary, ...] = ()
            try:
                dags = await self._selected_by(policy)
                reason = None if dags else SELECTS_NOTHING
            except (CircuitOpen, AirflowLogInRefused):  # other entries would fail likewise
                raise
            except AirflowNotFound:
                reason = NO_SUCH_DAG
            except (
                AirflowRefused,
                AirflowRejected,
            ) as error:  # with some rights, 403 also for a dag that does not exist
                failures.append(error)
                reason = f"{NOT_SHOWN}: {error}"
            except AirflowError as error:
                failures.append(error)
                stays = [tool for tool in self._last.tools.values() if tool.entry == policy]
                kept += stays
                reason = f"it could not be read: {error}" + ("; what it selects stays as it was" if stays else "")
            selected.append((policy, dags))
            if reason:
                withheld.append(Withheld(policy.dag or policy.selector, reason))
        if len(failures) == len(self._policies) and failures:
            raise failures[0]
        return list(allotted(selected)), kept, await self._with_import_hints(withheld)

    async def _with_import_hints(self, withheld: list[Withheld]) -> list[Withheld]:
        """Add hints from Airflow's import errors about missing dags; one request for all."""
        if not any(item.reason.startswith(NOT_THERE) for item in withheld):
            return withheld
        try:
            errors = await self._api.fetch_import_errors()
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

    async def _selected_by(self, policy: ToolPolicy) -> tuple[DagSummary, ...]:
        if policy.dag is not None:
            return (await self._api.fetch_summary(policy.dag),)
        dags = await self._api.fetch_dags(DagQuery(tag=policy.tag, dag_id_like=_as_like(policy.dags)))
        return tuple(dag for dag in dags if policy.selects(dag))

    async def _publish(self, dag: DagSummary, policy: ToolPolicy) -> Tool | Withheld:
        if reason := reason_not_to_run(dag):
            return Withheld(dag.dag_id, reason)
        known = self._last_known(dag.dag_id, policy)
        try:
            return await self._made(await self._api.fetch_dag(dag.dag_id), policy, known)
        except ToolUnpublishable as error:
            return Withheld(dag.dag_id, str(error))
        except AirflowNotFound:
            return Withheld(dag.dag_id, "it disappeared from Airflow while it was read")
        except AirflowLogInRefused as error:
            return known or Withheld(dag.dag_id, f"it could not be read: {error}")
        except (AirflowRefused, AirflowRejected) as error:
            return Withheld(dag.dag_id, f"{NOT_SHOWN}: {error}")
        except AirflowError as error:
            return known or Withheld(dag.dag_id, f"it could not be read: {error}")
        except Exception:
            logger.exception("no tool could be made of dag %s", dag.dag_id)
            return Withheld(dag.dag_id, "dagcall could not make a tool of it; see its log")

    async def _made(self, dag: Dag, policy: ToolPolicy, known: Tool | None) -> Tool | Withheld:
        """Return the tool of a dag; the known one, if the dag is unchanged."""
        # A tool is rebuilt only if its dag has changed, because compiling its schemas takes milliseconds.
        is_known = known is not None and not known.left_out and _is_same(known.dag, dag)
        tool = known if known and is_known else tool_from_dag(dag, policy)
        tasks = await self._tasks_of(tool)
        if problem := _unknown_result_task(tool, tasks):
            if policy.results is not None:
                return Withheld(dag.dag_id, problem)
            tool = tool_from_dag(dag, policy, refusal=problem)
        reason = self._reason_for_no_result(tool, tasks)
        return Withheld(dag.dag_id, reason) if reason else tool

    async def _tasks_of(self, tool: Tool) -> tuple[Task, ...] | None:
        """Return the tasks of a dag; None if Airflow does not show them and they are not needed."""
        version, tasks = self._tasks.get(tool.dag_id, (None, None))
        if tool.policy.results is None and version is not None and version == tool.dag.version:
            return tasks
        try:
            tasks = await self._api.fetch_tasks(tool.dag_id, purpose=Purpose.DISCOVERY)
        except AirflowError as error:
            if tool.policy.results is not None:
                raise
            logger.debug("the tasks of dag %s could not be read: %s", tool.dag_id, error)
            return None
        self._tasks[tool.dag_id] = (tool.dag.version, tasks)
        return tasks

    def _reason_for_no_result(self, tool: Tool, tasks: tuple[Task, ...] | None) -> str | None:
        """Return why runs triggered now would have no result; None if they would, or if it is unknown."""
        if tasks is None:
            return None
        logical_date = self._api.rest.clock.now() if tool.policy.logical_date == "now" else None
        reason = reason_for_no_result(tasks, tool.policy.results or (), logical_date)
        if reason:  # a dag without runs may be fixed without a new version
            self._tasks.pop(tool.dag_id, None)
        return reason

    def _last_known(self, dag_id: str, policy: ToolPolicy) -> Tool | None:
        """Return the tool of the last refresh. It stays if its dag cannot be read, so that a hiccup changes nothing."""
        return next((tool for tool in self._last.of_dag.get(dag_id, ()) if tool.entry == policy), None)


def _unknown_result_task(tool: Tool, tasks: tuple[Task, ...] | None) -> str | None:
    """Return the problem with the named result tasks; a dag's tasks may change without the dag."""
    known = sorted(task.task_id for task in tasks or ())
    for task_id in tool.policy.results or ():
        if task_id not in known:
            return f"results names task {task_id!r}, which the dag does not have{did_you_mean(task_id, known)}"
    return None


def _is_same(one: Dag, other: Dag) -> bool:
    """Return whether two dags are the same, also as JSON: in Python, 1 and true are equal."""
    return one == other and repr(one) == repr(other)


def reason_not_to_run(dag: DagSummary) -> str | None:
    """Return why a dag cannot run now, as a clause; None if it can."""
    if dag.is_stale:
        return "it is no longer in Airflow's dag folders"
    if dag.has_import_errors:
        return "its file has import errors in Airflow"
    if dag.is_paused:
        return "it is paused in Airflow; unpause it there to publish it"
    if dag.allowed_run_types is not None and "manual" not in dag.allowed_run_types:
        return "its author does not allow manual runs (allowed_run_types)"
    return None


def _without_arguments(outcome: Tool | Withheld) -> Tool | Withheld:
    """Return the tool if it needs no conf, for an Airflow that ignores conf."""
    if isinstance(outcome, Withheld) or not (outcome.input.properties or outcome.input.fixed):
        return outcome
    return Withheld(
        outcome.dag_id,
        "Airflow would ignore its arguments, and its tasks would see the defaults: dag_run_conf_overrides_params is "
        "False in Airflow's [core]",
    )


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


def _sentence(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


def _as_like(pattern: str | None) -> str | None:
    """Return an ILIKE pattern that matches at least the same dag ids."""
    if pattern is None:
        return None
    literal = pattern.split("[", 1)[0]
    return literal.replace("*", "%").replace("?", "_") or None
