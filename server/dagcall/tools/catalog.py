"""The tools published now: the allow-list, matched with what Airflow has, matched with what was pinned.

Served from memory and refreshed in the background. One bad dag hides no other: each that was selected and is not
published is kept with its reason. When Airflow does not answer, the last known tools stay; where it does not answer for
one entry of the allow-list, those of that entry do.
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
"""How long a request waits for the first list of tools. claude.ai wants its first answers within 10 s."""
NO_SUCH_DAG = "there is no such dag in Airflow, or dagcall's account may not see it"
SELECTS_NOTHING = "selects no dag that dagcall's account can see"
NOT_SHOWN = "Airflow does not show it to dagcall's account"
NOT_THERE = (NO_SUCH_DAG, SELECTS_NOTHING, NOT_SHOWN)
"""Reasons behind which there may be a file that Airflow cannot import."""
REFRESH_SHARE = 0.1
"""Reading the dags may take this share of the time: the more dags there are, the more seldom they are read."""
AGAIN_SECONDS = 5.0
"""Until the next try where Airflow itself did not answer. While it is taken to be away, a try sends nothing."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Something that was selected and is not published."""

    what: str
    """A dag id, or the selector of an entry that selects nothing, or a part of a tool that is published without it."""
    reason: str


@dataclass(frozen=True)
class Snapshot:
    """What one refresh found."""

    tools: Mapping[str, Tool] = field(default_factory=dict)
    """By name, sorted."""
    withheld: tuple[Withheld, ...] = ()
    problem: str | None = None
    """Why Airflow could not be asked; the tools are then those of the last time."""
    own: tuple[WireTool, ...] = field(default_factory=own_tools)
    """dagcall's own tools."""
    unreviewed: Mapping[str, Tool] = field(default_factory=dict)
    """What would be published, by name, were it as it was pinned."""

    @cached_property
    def of_dag(self) -> Mapping[str, list[Tool]]:
        """The tools by dag id; one dag may be several."""
        tools: defaultdict[str, list[Tool]] = defaultdict(list)
        for tool in self.tools.values():
            tools[tool.dag_id].append(tool)
        return tools


class Catalog:
    """Knows the tools.

    Args:
        api: Airflow.
        policies: the allow-list.
        read_pins: what was reviewed, asked at each refresh; None to publish without pins.
        remembered: what the last process read; None to begin with nothing.
        callers: who may use a tool whose entry does not say.
        on_change: given the published tools that differ from before, as they were and as they are.
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
        """What the last refresh found, whether reviewed or not."""
        self._conf_counts = False
        """Whether Airflow has said that runs get what they are started with, or that it does not say."""
        self.refresher = Loop("the refresh of the tools")
        self._tasks: dict[str, tuple[int | None, tuple[Task, ...]]] = {}
        """Dag id -> the version of the dag, and its tasks then."""
        self._first = asyncio.Event()
        self._wanted = asyncio.Event()
        self._is_unanswered = False
        """Whether Airflow did not answer the last refresh, or something in front of it did."""

    def may_use(self, caller: Caller, tool: Tool) -> bool:
        """Say whether there is this tool for a caller."""
        return is_meant(caller, tool.entry.callers or self._callers)

    def wire_tools(self, caller: Caller) -> list[WireTool]:
        """Return the tools that there are for a caller, sorted by name."""
        return [tool.wire for tool in self.snapshot.tools.values() if self.may_use(caller, tool)]

    def tool(self, name: str, caller: Caller = LOCAL) -> Tool:
        """Return a published tool.

        Raises:
            UnknownTool: with the reason, as far as one is known; the same for one that is for other callers.
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
        """Let a call of one of dagcall's own tools go on.

        Raises:
            UnknownTool: it is not as it was pinned.
        """
        if all(wire.name != name for wire in self.snapshot.own):
            raise self._not_as_reviewed(name)

    def _not_as_reviewed(self, name: str) -> UnknownTool:
        logger.warning("a call of %s was refused: the tool is not as it was pinned", name)
        return UnknownTool(
            f"tool {name!r} cannot be called now: what it is differs from what was reviewed. Nothing was done; "
            "list the tools again later, or tell whoever runs dagcall."
        )

    async def wait_until_read(self, seconds: float = FIRST_READ_SECONDS) -> None:
        """Wait until Airflow has been asked once, with or without success, but no longer than this."""
        if self._first.is_set():
            return
        try:
            async with asyncio.timeout(seconds):
                await self._first.wait()
        except TimeoutError:
            return

    @property
    def is_read(self) -> bool:
        """Whether the tools are known, from this refresh or an earlier one."""
        return self._first.is_set() and (self.snapshot.problem is None or bool(self.snapshot.tools))

    def refresh_soon(self) -> None:
        """Ask for a refresh ahead of time: a call has just found that a definition no longer holds."""
        self._wanted.set()

    async def keep_fresh(self, every_seconds: float) -> None:
        """Refresh for ever, and until the first time publish what is remembered."""
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
            if self._is_unanswered:  # how long that took says nothing of how long reading takes
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
        """Read the dags and replace the snapshot. Never raises for what Airflow does or does not say."""
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
        """Publish what the last process published, as far as the allow-list and the pins still do.

        A call asks Airflow anew whether its dag can run, so nothing runs because it is remembered.
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
                logger.exception("dag %s, as it was remembered, could not be made into a tool", summary.dag_id)
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
        """Say whether Airflow ignores the arguments of every call; no, as long as it does not say so."""
        if self._conf_counts:
            return False
        try:
            ignores = await self._api.fetch_ignores_conf()
        except (CircuitOpen, AirflowLogInRefused):
            raise
        except (AirflowRefused, AirflowRejected, AirflowNotFound, AirflowAnswerUnusable):
            ignores = False  # most do not show it
        except AirflowError:
            return False
        self._conf_counts = not ignores
        return ignores

    async def _reviewed(self) -> Snapshot:
        """Return what was found without what is not as it was pinned."""
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
        """Return each selected dag with the entry that holds for it, what stays as it was, and what is wrong.

        Raises:
            AirflowError: none of the entries could be asked about.
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
            except (CircuitOpen, AirflowLogInRefused):  # which no other entry would fare better with
                raise
            except AirflowNotFound:
                reason = NO_SUCH_DAG
            except (
                AirflowRefused,
                AirflowRejected,
            ) as error:  # 403 also for a dag that does not exist, with some rights
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
        """Add what Airflow's import errors say of dags that are not there; one question for all of them."""
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
            logger.exception("dag %s could not be made into a tool", dag.dag_id)
            return Withheld(dag.dag_id, "dagcall could not make a tool of it; its log says more")

    async def _made(self, dag: Dag, policy: ToolPolicy, known: Tool | None) -> Tool | Withheld:
        """Return the tool of a dag; as it was known, where the dag is the same."""
        # A tool is made anew only when its dag has changed: compiling its schemas takes milliseconds.
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
        """Return the tasks of a dag; None where Airflow does not show them and nothing has to be known of them."""
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
        """Return why runs that are triggered now would have nothing to show; None where that is not known, too."""
        if tasks is None:
            return None
        logical_date = self._api.rest.clock.now() if tool.policy.logical_date == "now" else None
        reason = reason_for_no_result(tasks, tool.policy.results or (), logical_date)
        if reason:  # a dag without runs may be mended without getting a new version
            self._tasks.pop(tool.dag_id, None)
        return reason

    def _last_known(self, dag_id: str, policy: ToolPolicy) -> Tool | None:
        """Return the tool of the last refresh. It stays where its dag cannot be read: a hiccup changes nothing."""
        return next((tool for tool in self._found.of_dag.get(dag_id, ()) if tool.entry == policy), None)

    def _tell_operator(self, before: Snapshot, now: Snapshot) -> None:
        for item in now.withheld:
            if item not in before.withheld:
                logger.warning("not published: %s: %s", item.what, item.reason)
        if before.tools.keys() != now.tools.keys():
            logger.info("published: %s", ", ".join(now.tools) or "nothing")


def _unknown_result_task(tool: Tool, tasks: tuple[Task, ...] | None) -> str | None:
    """Return what is wrong with the result tasks that were named; a dag's tasks change without the dag."""
    known = sorted(task.task_id for task in tasks or ())
    for task_id in tool.policy.results or ():
        if task_id not in known:
            return f"results names task {task_id!r}, which the dag does not have{did_you_mean(task_id, known)}"
    return None


def _is_same(one: Dag, other: Dag) -> bool:
    """Say whether two dags are the same, also to JSON: Python calls 1 and true equal."""
    return one == other and repr(one) == repr(other)


def reason_not_to_run(dag: DagSummary) -> str | None:
    """Return why a dag cannot be run now, as a clause; None if it can."""
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
    """Return the tool if it needs no conf, for an Airflow that ignores it."""
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
    """Give each dag to the entry that holds for it: those that name it, else the first listed that selects it."""
    taken = {policy.dag for policy, _ in selected}
    for policy, dags in selected:
        for dag in dags:
            if policy.dag is not None or dag.dag_id not in taken:
                taken.add(dag.dag_id)
                yield dag, policy


def _sentence(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


def _as_like(pattern: str | None) -> str | None:
    """Return an ILIKE pattern that catches at least what the pattern of dag ids does."""
    if pattern is None:
        return None
    literal = pattern.split("[", 1)[0]
    return literal.replace("*", "%").replace("?", "_") or None


def _changed(before: Snapshot, now: Snapshot) -> list[Tool]:
    """Return the tools that are not on the wire as they were, in both forms; all of them if dagcall's own changed."""
    pairs = [(before.tools.get(name), now.tools.get(name)) for name in {**before.tools, **now.tools}]
    if before.own == now.own:
        pairs = [(one, other) for one, other in pairs if not (one and other and one.wire == other.wire)]
    return [tool for pair in pairs for tool in pair if tool]
