"""The allow-list and Airflow's dags -> tools, or the reasons why there are none.

Each refresh lists all dags, and reads those that are new or have changed; `readings` knows which, `pace` how many.

A bad dag affects no other: each selected dag that is not published is kept with the reason.
"""

import asyncio
import logging
import math

from dagcall.airflow import Dag, DagSource, DagSummary, Purpose, Task, reason_for_no_result
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
from dagcall.text import did_you_mean
from dagcall.tools.pace import SMALL, Pace, pace_of
from dagcall.tools.policy import ToolPolicy
from dagcall.tools.readings import Readings
from dagcall.tools.selection import NOT_SHOWN, Selection
from dagcall.tools.snapshot import Snapshot, Withheld
from dagcall.tools.tool import Tool, tool_from_dag

logger = logging.getLogger(__name__)


class Discovery:
    """Finds the tools.

    Args:
        source: shows the dags: Airflow, or dag files.
        policies: the allow-list.
    """

    def __init__(self, source: DagSource, policies: tuple[ToolPolicy, ...]) -> None:
        self._source = source
        self._selection = Selection(source, policies)
        self._last = Snapshot()
        self._conf_counts = False
        """Whether Airflow has confirmed that runs get their conf, or does not show this setting."""
        self._tasks: dict[str, tuple[int | None, tuple[Task, ...] | None]] = {}
        """Dag id -> a version of the dag, and its tasks in that version; None if Airflow does not show them."""
        self._readings = Readings()
        self._outdated: set[str] = set()
        """Dags that are to be forgotten when the next refresh begins, not in the middle of one."""
        self._newest_version: str | None = None
        """The newest dag version that was seen."""
        self._are_versions_hidden = False
        self.pace = Pace(0, 0)
        """The pace of the last refresh."""

    def allow(self, policies: tuple[ToolPolicy, ...]) -> None:
        """Use another allow-list. What was read of dags stays."""
        self._selection = Selection(self._source, policies)

    def forget(self, dag_id: str) -> None:
        """Let a dag be read at the next refresh, because it is not as it was read."""
        self._outdated.add(dag_id)

    async def find(self, last: Snapshot, every_seconds: float, *, only: str | None = None) -> Snapshot:
        """Return the tools that the allow-list and Airflow's dags make.

        Args:
            last: what was found before; its tools stay where Airflow does not answer.
            every_seconds: how often the operator wants the dags to be read.
            only: the name of a tool, to read no other dags.

        Raises:
            AirflowError: no entry of the allow-list could be read.
        """
        self._last = last
        for dag_id in self._outdated:
            self._readings.forget(dag_id)
            self._tasks.pop(dag_id, None)
        self._outdated.clear()
        ignores_conf = await self._ignores_conf()
        selected, kept, withheld = await self._selection.select(last)
        if only is not None:
            selected = [(dag, policy) for dag, policy in selected if policy.tool_name(dag.dag_id) == only]
        listed = {dag.dag_id: dag for dag, _ in selected if not reason_not_to_run(dag)}
        wanted = {*listed, *(tool.dag_id for tool in kept)}
        self._readings.forget_others(wanted)
        self._tasks = {dag_id: known for dag_id, known in self._tasks.items() if dag_id in wanted}
        is_large = len(listed) > SMALL
        listing_requests = 1 + self._selection.requests + is_large  # Airflow's version, the dags, their versions
        self.pace = pace_of(len(listed), listing_requests, every_seconds)
        if is_large:
            await self._follow_versions(len(listed))
        due = self._readings.due(listed, self.pace.rereads, self._cost)
        read = await asyncio.gather(*(self._read(listed[dag_id]) for dag_id in due), return_exceptions=True)
        problems = dict(zip(due, read, strict=True))
        outcomes = await asyncio.gather(
            *(
                self._publish(dag, policy, problem=problems.get(dag.dag_id), is_new=dag.dag_id in problems)
                for dag, policy in selected
            )
        )
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
                        outcome.dag_id,
                        f"its tool name {outcome.name!r} is taken by dag {other!r}; give it a name",
                        "name_taken",
                    )
                )
            else:
                tools[outcome.name] = outcome
                withheld += (
                    Withheld(
                        f"{outcome.dag_id}: {item.what}",
                        f"{_sentence(item.reason)} The tool is published without it",
                        "partly",
                    )
                    for item in outcome.left_out
                )
        return Snapshot(dict(sorted(tools.items())), tuple(sorted(withheld, key=lambda item: item.what)))

    async def _ignores_conf(self) -> bool:
        """Return whether Airflow ignores the arguments of every call; False unless it says so."""
        if self._conf_counts:
            return False
        try:
            ignores = await self._source.fetch_ignores_conf()
        except (CircuitOpen, AirflowLogInRefused):
            raise
        except (AirflowRefused, AirflowRejected, AirflowNotFound, AirflowAnswerUnusable):
            ignores = False  # most Airflows do not show it
        except AirflowError:
            return False
        self._conf_counts = not ignores
        return ignores

    async def _follow_versions(self, dags: int) -> None:
        """Forget what was read of dags that have a new version."""
        try:
            versions = await self._source.fetch_versions(since=self._newest_version)
        except (CircuitOpen, AirflowLogInRefused):
            raise
        except AirflowRefused as error:
            if not self._are_versions_hidden:
                minutes = math.ceil(self.pace.seconds_for(dags) / 60)
                logger.warning(
                    "new versions of dags cannot be seen, so dagcall may notice a changed dag only after %d min: %s "
                    "(with FAB: can_read on DAG Versions)",
                    minutes,
                    error,
                )
            self._are_versions_hidden = True
            return
        except AirflowError as error:
            logger.debug("the dag versions could not be read: %s", error)
            return
        self._are_versions_hidden = False
        self._readings.forget_outdated(versions)
        self._newest_version = max([self._newest_version or "", *(version.version_id for version in versions)])

    def _cost(self, dag_id: str) -> int:
        """Return how many requests it takes to reread a dag: its tasks are read, too, if its version is not enough."""
        version, tasks = self._tasks.get(dag_id, (None, None))
        names_results = any(tool.policy.results is not None for tool in self._last.of_dag.get(dag_id, ()))
        return 1 + (names_results or version is None or tasks is None)

    async def _read(self, listed: DagSummary) -> None:
        """Read a dag and keep it. A dag that Airflow no longer shows is asked for again at each refresh."""
        try:
            dag = await self._source.fetch_dag(listed.dag_id)
        except (AirflowRefused, AirflowRejected, AirflowNotFound):
            self._readings.forget(listed.dag_id)
            raise
        self._readings.keep(dag, listed)

    def _dag(self, dag_id: str, problem: BaseException | None) -> Dag:
        """Return a dag as it was read last; raise what prevented reading it now."""
        if problem is not None:
            raise problem
        return self._readings[dag_id].dag

    async def _publish(
        self, dag: DagSummary, policy: ToolPolicy, *, problem: BaseException | None, is_new: bool
    ) -> Tool | Withheld:
        """Return the tool of a dag, or why it has none.

        Args:
            dag: the dag as listed.
            policy: its entry.
            problem: what prevented reading it now.
            is_new: whether it was due to be read now.
        """
        if reason := reason_not_to_run(dag):
            return Withheld(dag.dag_id, reason, "cannot_run")
        known = self._last_known(dag.dag_id, policy)
        try:
            return await self._made(self._dag(dag.dag_id, problem), policy, known, is_new=is_new)
        except ToolUnpublishable as error:
            return Withheld(dag.dag_id, str(error))
        except AirflowNotFound:
            return Withheld(dag.dag_id, "it disappeared from Airflow while it was read", "missing")
        except AirflowLogInRefused as error:
            return known or Withheld(dag.dag_id, f"it could not be read: {error}", "unreadable")
        except (AirflowRefused, AirflowRejected) as error:
            return Withheld(dag.dag_id, f"{NOT_SHOWN}: {error}", "hidden")
        except AirflowError as error:
            return known or Withheld(dag.dag_id, f"it could not be read: {error}", "unreadable")
        except Exception:
            logger.exception("no tool could be made of dag %s", dag.dag_id)
            return Withheld(dag.dag_id, "dagcall could not make a tool of it; see its log")

    async def _made(self, dag: Dag, policy: ToolPolicy, known: Tool | None, *, is_new: bool) -> Tool | Withheld:
        """Return the tool of a dag; the known one, if the dag is unchanged."""
        # A tool is rebuilt only if its dag has changed, because compiling its schemas takes milliseconds.
        is_known = known is not None and not known.left_out and _is_same(known.dag, dag)
        tool = known if known and is_known else tool_from_dag(dag, policy)
        tasks = await self._tasks_of(tool, is_new=is_new)
        if problem := _unknown_result_task(tool, tasks):
            if policy.results is not None:
                return Withheld(dag.dag_id, problem, "no_result")
            tool = tool_from_dag(dag, policy, refusal=problem)
        reason = self._reason_for_no_result(tool, tasks)
        return Withheld(dag.dag_id, reason, "no_result") if reason else tool

    async def _tasks_of(self, tool: Tool, *, is_new: bool) -> tuple[Task, ...] | None:
        """Return the tasks of a dag; None if Airflow does not show them and they are not needed."""
        are_needed = tool.policy.results is not None
        version, tasks = self._tasks.get(tool.dag_id, (None, None))
        if tool.dag_id in self._tasks and not (are_needed and tasks is None):
            is_same_version = version is not None and version == tool.dag.version
            if not is_new or (is_same_version and tasks is not None and not are_needed):
                return tasks
        try:
            tasks = await self._source.fetch_tasks(tool.dag_id, purpose=Purpose.DISCOVERY)
        except AirflowError as error:
            if are_needed:
                raise
            logger.debug("the tasks of dag %s could not be read: %s", tool.dag_id, error)
            tasks = None
        self._tasks[tool.dag_id] = (tool.dag.version, tasks)
        return tasks

    def _reason_for_no_result(self, tool: Tool, tasks: tuple[Task, ...] | None) -> str | None:
        """Return why runs triggered now would have no result; None if they would, or if it is unknown."""
        if tasks is None:
            return None
        logical_date = self._source.now() if tool.policy.logical_date == "now" else None
        reason = reason_for_no_result(tasks, tool.policy.results or (), logical_date)
        if reason:  # a dag without runs may be fixed without a new version
            self._tasks[tool.dag_id] = (None, tasks)
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


PAUSED = "it is paused in Airflow; unpause it there to publish it"


def reason_not_to_run(dag: DagSummary) -> str | None:
    """Return why a dag cannot run now, as a clause; None if it can."""
    if dag.is_stale:
        return "it is no longer in Airflow's dag folders"
    if dag.has_import_errors:
        return "its file has import errors in Airflow"
    if dag.is_paused:
        return PAUSED
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
        "arguments_ignored",
    )


def _sentence(text: str) -> str:
    return text if text.endswith("?") else f"{text}."
