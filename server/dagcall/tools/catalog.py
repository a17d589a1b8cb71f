"""The published tools: the allow-list, matched with Airflow's dags and with the pins.

Served from memory and refreshed in the background. A bad dag affects no other: each selected dag that is not published
is kept with the reason. If Airflow does not answer, the last known tools stay; if it does not answer for one entry of
the allow-list, the tools of that entry stay.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from mcp_types import Tool as WireTool

from dagcall.airflow import AirflowApi, Dag, DagQuery, DagSummary, Purpose, Task, import_hint, reason_for_no_result
from dagcall.auth import EVERYBODY, LOCAL, Caller, is_meant
from dagcall.errors import (
    AirflowAnswerUnusable,
    AirflowError,
    AirflowLogInRefused,
    AirflowNotFound,
    AirflowRefused,
    AirflowRejected,
    AirflowUnreachable,
    CircuitOpen,
    ToolUnpublishable,
    UnknownTool,
)
from dagcall.loops import Loop
from dagcall.masking import Masker
from dagcall.text import did_you_mean
from dagcall.tools.dag_cache import DagCache
from dagcall.tools.pins import Pins
from dagcall.tools.policy import ToolPolicy
from dagcall.tools.tool import Tool, own_tools, tool_from_dag, wire_json

logger = logging.getLogger(__name__)

FIRST_READ_SECONDS = 8.0
"""How long a request waits for the first list of tools. claude.ai expects its first answers within 10 s."""
NO_SUCH_DAG = "there is no such dag in Airflow, or dagcall's account may not see it"
SELECTS_NOTHING = "selects no dag that dagcall's account can see"
NOT_SHOWN = "Airflow does not show it to dagcall's account"
NOT_THERE = (NO_SUCH_DAG, SELECTS_NOTHING, NOT_SHOWN)
"""Reasons that may be caused by a file that Airflow cannot import."""
REFRESH_SHARE = 0.1
"""The maximum share of time for reading the dags: the more dags, the less often they are read."""
AGAIN_SECONDS = 5.0
"""The pause before the next try if Airflow did not answer. While the breaker is open, a try sends nothing."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Something that was selected but is not published."""

    what: str
    """A dag id, the selector of an entry that selects nothing, or a part of a tool that is published without it."""
    reason: str


@dataclass(frozen=True)
class Snapshot:
    """The outcome of one refresh."""

    tools: Mapping[str, Tool] = field(default_factory=dict)
    """By name, sorted."""
    withheld: tuple[Withheld, ...] = ()
    problem: str | None = None
    """Why Airflow could not be read; the tools are then the previous ones."""
    own: tuple[WireTool, ...] = field(default_factory=own_tools)
    """dagcall's own tools."""
    unreviewed: Mapping[str, Tool] = field(default_factory=dict)
    """Tools that differ from their pins, by name."""

    @cached_property
    def of_dag(self) -> Mapping[str, list[Tool]]:
        """The tools by dag id; a dag may have several tools."""
        tools: defaultdict[str, list[Tool]] = defaultdict(list)
        for tool in self.tools.values():
            tools[tool.dag_id].append(tool)
        return tools


class Catalog:
    """Keeps the published tools.

    Args:
        api: Airflow.
        policies: the allow-list.
        read_pins: reads the pins at each refresh; None to publish without pins.
        remembered: the cache of the dags; None to start without one.
        callers: who may use a tool whose entry has no `callers`.
        on_change: called with the tools that have changed, in their old and new forms.
    """

    def __init__(
        self,
        api: AirflowApi,
        policies: tuple[ToolPolicy, ...],
        *,
        read_pins: Callable[[], Pins] | None = None,
        remembered: DagCache | None = None,
        callers: tuple[str, ...] = (EVERYBODY,),
        on_change: Callable[[Collection[Tool]], Awaitable[None]] | None = None,
    ) -> None:
        self._api = api
        self._policies = policies
        self._read_pins = read_pins
        self._remembered = remembered
        self._callers = callers
        self.on_change = on_change
        self.snapshot = Snapshot()
        self._found = Snapshot()
        """The outcome of the last refresh, before the comparison with the pins."""
        self._conf_counts = False
        """Whether Airflow has confirmed that runs get their conf, or does not show this setting."""
        self.refresher = Loop("the refresh of the tools")
        self._tasks: dict[str, tuple[int | None, tuple[Task, ...]]] = {}
        """Dag id -> a version of the dag, and its tasks in that version."""
        self._first = asyncio.Event()
        self._wanted = asyncio.Event()
        self._is_unanswered = False
        """Whether the last refresh got no answer from Airflow itself."""

    def may_use(self, caller: Caller, tool: Tool) -> bool:
        """Return whether a caller may use a tool."""
        return is_meant(caller, tool.entry.callers or self._callers)

    def wire_tools(self, caller: Caller) -> list[WireTool]:
        """Return the tools that a caller may use, sorted by name."""
        return [tool.wire for tool in self.snapshot.tools.values() if self.may_use(caller, tool)]

    def tool(self, name: str, caller: Caller = LOCAL) -> Tool:
        """Return a published tool.

        Raises:
            UnknownTool: with the reason, if it is known; the same for a tool of other callers.
        """
        tool = self.snapshot.tools.get(name)
        if tool is not None and self.may_use(caller, tool):
            return tool
        unreviewed = self.snapshot.unreviewed.get(name)
        if unreviewed is not None and self.may_use(caller, unreviewed):
            raise self._not_as_reviewed(name)
        if self.snapshot.problem:
            raise UnknownTool(f"there is no tool {name!r} now: {self.snapshot.problem}")
        known = [wire.name for wire in self.wire_tools(caller)]
        raise UnknownTool(f"there is no tool {name!r}{did_you_mean(name, known)}")

    def require_own(self, name: str) -> None:
        """Require that one of dagcall's own tools equals its pin.

        Raises:
            UnknownTool: it does not.
        """
        if all(wire.name != name for wire in self.snapshot.own):
            raise self._not_as_reviewed(name)

    def _not_as_reviewed(self, name: str) -> UnknownTool:
        logger.warning("a call of %s was refused: the tool differs from its pin", name)
        return UnknownTool(
            f"tool {name!r} cannot be called now: its definition differs from the reviewed one. Nothing was done. "
            "List the tools again later, or tell the operator of this dagcall."
        )

    async def wait_until_read(self, seconds: float = FIRST_READ_SECONDS) -> None:
        """Wait for the first refresh, successful or not, but no longer than this."""
        if self._first.is_set():
            return
        try:
            async with asyncio.timeout(seconds):
                await self._first.wait()
        except TimeoutError:
            return

    @property
    def is_read(self) -> bool:
        """Whether the tools are known, from the last refresh or an earlier one."""
        return self._first.is_set() and (self.snapshot.problem is None or bool(self.snapshot.tools))

    def refresh_soon(self) -> None:
        """Request an early refresh, because a call has found an outdated definition."""
        self._wanted.set()

    async def keep_fresh(self, every_seconds: float) -> None:
        """Refresh repeatedly; until the first refresh, publish the cached dags."""
        loop = asyncio.get_running_loop()
        remembered = self._remembered

        async def turn() -> bool:
            nonlocal remembered
            if remembered is not None:
                from_file, remembered = remembered, None
                await self._restore(await asyncio.to_thread(from_file.load))
            started = loop.time()
            await self.refresh()
            took = loop.time() - started
            pause = max(every_seconds, took / REFRESH_SHARE)
            if self._is_unanswered:  # its duration says nothing about the time that reading takes
                pause = min(every_seconds, AGAIN_SECONDS)
            try:
                async with asyncio.timeout(pause):
                    await self._wanted.wait()
            except TimeoutError:
                return True
            self._wanted.clear()
            return True

        await self.refresher.run(turn)

    async def refresh(self) -> Snapshot:
        """Read the dags and replace the snapshot. Never raises because of Airflow."""
        before = self.snapshot
        self._is_unanswered = False
        try:
            await self._api.fetch_version()
            found = await self._find()
        except AirflowError as error:
            self._is_unanswered = isinstance(error, AirflowUnreachable | AirflowAnswerUnusable)
            found = replace(self._found, problem=str(error))
            if before.problem != found.problem:
                logger.warning("%s; the tools stay as they were (%d)", error, len(before.tools))
        if before.problem and not found.problem:
            logger.warning("Airflow at %s answers again", self._api.url)
        self._found = found
        found = await self._reviewed()
        self.snapshot = found
        self._first.set()
        self._tell_operator(before, found)
        if self._remembered is not None and found.problem is None:
            await asyncio.to_thread(
                self._remembered.keep, {tool.dag_id: tool.dag for tool in self._found.tools.values()}.values()
            )
        if self.on_change and (changed := _changed(before, found)):
            await self.on_change(changed)
        return found

    async def _restore(self, dags: tuple[Dag, ...]) -> None:
        """Publish the tools of the last process, if the allow-list and the pins still allow them.

        Each call asks Airflow whether its dag can run, so the cache alone never starts a run.
        """
        tools: dict[str, Tool] = {}
        by_id = {dag.dag_id: dag for dag in dags}
        selected = [(policy, [dag.summary for dag in dags if policy.selects(dag.summary)]) for policy in self._policies]
        for summary, policy in _allotted(selected):
            try:
                tool = tool_from_dag(by_id[summary.dag_id], policy)
            except ToolUnpublishable:
                continue
            except Exception:
                logger.exception("no tool could be made of the cached dag %s", summary.dag_id)
                continue
            tools.setdefault(tool.name, tool)
        if tools:
            self._found = Snapshot(dict(sorted(tools.items())))
            self.snapshot = await self._reviewed()
            self._first.set()

    async def _find(self) -> Snapshot:
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

    async def _reviewed(self) -> Snapshot:
        """Return the found tools without those that differ from their pins."""
        if self._read_pins is None:
            return self._found
        pins, found = await asyncio.to_thread(self._read_pins), self._found
        objections = {name: pins.objection(wire_json(tool.wire)) for name, tool in found.tools.items()}
        own_objections = {wire.name: pins.objection(wire_json(wire)) for wire in found.own}
        withheld = [
            *found.withheld,
            *(Withheld(found.tools[name].dag_id, reason) for name, reason in objections.items() if reason),
            *(Withheld(name, reason) for name, reason in own_objections.items() if reason),
        ]
        return replace(
            found,
            tools={name: tool for name, tool in found.tools.items() if not objections[name]},
            withheld=tuple(sorted(withheld, key=lambda item: item.what)),
            own=tuple(wire for wire in found.own if not own_objections[wire.name]),
            unreviewed={name: tool for name, tool in found.tools.items() if objections[name]},
        )

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
                stays = [tool for tool in self._found.tools.values() if tool.entry == policy]
                kept += stays
                reason = f"it could not be read: {error}" + ("; what it selects stays as it was" if stays else "")
            selected.append((policy, dags))
            if reason:
                withheld.append(Withheld(policy.dag or policy.selector, reason))
        if len(failures) == len(self._policies) and failures:
            raise failures[0]
        return list(_allotted(selected)), kept, await self._with_import_hints(withheld)

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
        return next((tool for tool in self._found.of_dag.get(dag_id, ()) if tool.entry == policy), None)

    def _tell_operator(self, before: Snapshot, now: Snapshot) -> None:
        for item in now.withheld:
            if item not in before.withheld:
                logger.warning("not published: %s: %s", item.what, item.reason)
        if before.tools.keys() != now.tools.keys():
            logger.info("published: %s", ", ".join(now.tools) or "nothing")


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


def _allotted(
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


def _changed(before: Snapshot, now: Snapshot) -> list[Tool]:
    """Return the tools whose published form changed, in both forms; all tools if dagcall's own changed."""
    pairs = [(before.tools.get(name), now.tools.get(name)) for name in {**before.tools, **now.tools}]
    if before.own == now.own:
        pairs = [(one, other) for one, other in pairs if not (one and other and one.wire == other.wire)]
    return [tool for pair in pairs for tool in pair if tool]
