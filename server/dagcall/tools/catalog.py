"""The published tools: the allow-list, matched with Airflow's dags and with the pins.

Served from memory and refreshed in the background. If Airflow does not answer, the last known tools stay.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

from mcp_types import Tool as WireTool

from dagcall.airflow import Dag, DagSource
from dagcall.auth import EVERYBODY, LOCAL, Caller, is_meant
from dagcall.errors import (
    AirflowAnswerUnusable,
    AirflowError,
    AirflowUnreachable,
    ToolUnpublishable,
    UnknownTool,
)
from dagcall.loops import Loop
from dagcall.text import did_you_mean
from dagcall.tools.dag_cache import DagCache
from dagcall.tools.discovery import Discovery
from dagcall.tools.pins import Pins
from dagcall.tools.policy import ToolPolicy
from dagcall.tools.selection import allotted
from dagcall.tools.snapshot import Snapshot, Withheld
from dagcall.tools.tool import Tool, tool_from_dag, wire_json

logger = logging.getLogger(__name__)

EVERY_SECONDS = 30.0
"""The default of `refresh_seconds`, for commands that read the dags once."""
FIRST_READ_SECONDS = 8.0
"""How long a request waits for the first list of tools. claude.ai expects its first answers within 10 s."""
REFRESH_SHARE = 0.1
"""The maximum share of time for reading the dags: the slower Airflow answers, the less often they are read."""
AGAIN_SECONDS = 5.0
"""The pause before the next try if Airflow did not answer. While the breaker is open, a try sends nothing."""


class Catalog:
    """Keeps the published tools.

    Args:
        source: shows the dags: Airflow, or dag files.
        policies: the allow-list.
        read_pins: reads the pins at each refresh; None to publish without pins.
        remembered: the cache of the dags; None to start without one.
        callers: who may use a tool whose entry has no `callers`.
        on_change: called with the tools that have changed, in their old and new forms.
    """

    def __init__(
        self,
        source: DagSource,
        policies: tuple[ToolPolicy, ...],
        *,
        read_pins: Callable[[], Pins] | None = None,
        remembered: DagCache | None = None,
        callers: tuple[str, ...] = (EVERYBODY,),
        on_change: Callable[[Collection[Tool]], Awaitable[None]] | None = None,
    ) -> None:
        self._source = source
        self._policies = policies
        self._discovery = Discovery(source, policies)
        self._read_pins = read_pins
        self._remembered = remembered
        self._callers = callers
        self.on_change = on_change
        self.snapshot = Snapshot()
        self._found = Snapshot()
        """The outcome of the last refresh, before the comparison with the pins."""
        self.refresher = Loop("the refresh of the tools")
        self._first = asyncio.Event()
        self._wanted = asyncio.Event()
        self._every_seconds = EVERY_SECONDS
        self._publishing = asyncio.Lock()
        """Held while the snapshot is replaced, so that a refresh cannot bring back an old allow-list."""
        self._is_unanswered = False
        """Whether the last refresh got no answer from Airflow itself."""
        self.read_at: float | None = None
        """When the last successful refresh ended, by the loop's clock."""

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

    async def wait_until_read(self, seconds: float = FIRST_READ_SECONDS) -> bool:
        """Wait for the first refresh, successful or not, but no longer than this; return whether it has ended."""
        if not self._first.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._first.wait()
            except TimeoutError:
                return False
        return True

    @property
    def is_read(self) -> bool:
        """Whether the tools are known, from the last refresh or an earlier one."""
        return self._first.is_set() and (self.snapshot.problem is None or bool(self.snapshot.tools))

    @property
    def pause_seconds(self) -> float:
        """The pause between two refreshes that a catalog of this size needs."""
        return self._discovery.pace.pause_seconds

    def refresh_soon(self, dag_id: str) -> None:
        """Request an early refresh that reads this dag, because a call has found an outdated definition."""
        self._discovery.forget(dag_id)
        self._wanted.set()

    async def allow(
        self,
        policies: tuple[ToolPolicy, ...],
        *,
        callers: tuple[str, ...],
        read_pins: Callable[[], Pins] | None,
        every_seconds: float,
    ) -> None:
        """Use other settings from now on. What they no longer allow goes at once, whether or not Airflow answers.

        Args:
            policies: as for a new catalog.
            callers: likewise.
            read_pins: likewise.
            every_seconds: how often to refresh.
        """
        async with self._publishing:
            before = self.snapshot
            self._policies, self._callers, self._every_seconds = policies, callers, every_seconds
            self._read_pins = read_pins
            self._discovery.allow(policies)
            dags = {tool.dag_id: tool.dag for tool in self._found.tools.values()}
            self._found = replace(self._found, tools=self._tools_of(tuple(dags.values())))
            self.snapshot = await self._reviewed()
            self._tell_operator(before, self.snapshot)
        self._wanted.set()
        await self._announce(before)

    async def keep_fresh(self, every_seconds: float) -> None:
        """Refresh repeatedly; until the first refresh, publish the cached dags."""
        loop = asyncio.get_running_loop()
        self._every_seconds = every_seconds
        remembered = self._remembered

        async def turn() -> bool:
            nonlocal remembered
            if remembered is not None:
                from_file, remembered = remembered, None
                await self._restore(await asyncio.to_thread(from_file.load))
            started = loop.time()
            await self.refresh()
            took = loop.time() - started
            pause = max(self._every_seconds, took / REFRESH_SHARE, self.pause_seconds)
            if self._is_unanswered:  # its duration says nothing about the time that reading takes
                pause = min(self._every_seconds, AGAIN_SECONDS)
            try:
                async with asyncio.timeout(pause):
                    await self._wanted.wait()
            except TimeoutError:
                return True
            self._wanted.clear()
            return True

        await self.refresher.run(turn)

    async def refresh(self, *, only: str | None = None) -> Snapshot:
        """Read the dags and replace the snapshot. Never raises because of Airflow.

        Args:
            only: the name of a tool, for a process that needs no other one: other dags are listed, but not read.
        """
        policies = self._policies
        self._is_unanswered = False
        before = self.snapshot
        try:
            await self._source.fetch_version()
            found = await self._discovery.find(self._found, self._every_seconds, only=only)
            self.read_at = asyncio.get_running_loop().time()
        except AirflowError as error:
            self._is_unanswered = isinstance(error, AirflowUnreachable | AirflowAnswerUnusable)
            found = replace(self._found, problem=str(error))
            if before.problem != found.problem:
                logger.warning("%s; the tools stay as they were (%d)", error, len(before.tools))
        if before.problem and not found.problem:
            logger.warning("Airflow at %s answers again", self._source.url)
        async with self._publishing:
            if policies is self._policies:
                before = self.snapshot
                self._found = found
                self.snapshot = await self._reviewed()
                self._first.set()
                self._tell_operator(before, self.snapshot)
        if policies is not self._policies:  # `allow` has published what is known, and wants another refresh
            return self.snapshot
        if self._remembered is not None and found.problem is None:
            await asyncio.to_thread(
                self._remembered.keep, {tool.dag_id: tool.dag for tool in self._found.tools.values()}.values()
            )
        await self._announce(before)
        return self.snapshot

    async def _announce(self, before: Snapshot) -> None:
        """Tell clients what has changed since an earlier snapshot."""
        if self.on_change and (changed := _changed(before, self.snapshot)):
            await self.on_change(changed)

    async def _restore(self, dags: tuple[Dag, ...]) -> None:
        """Publish the tools of the last process, if the allow-list and the pins still allow them.

        Each call asks Airflow whether its dag can run, so the cache alone never starts a run.
        """
        if tools := self._tools_of(dags):
            self._found = Snapshot(tools)
            self.snapshot = await self._reviewed()
            self._first.set()

    def _tools_of(self, dags: tuple[Dag, ...]) -> dict[str, Tool]:
        """Return the tools that the allow-list makes of known dags, without asking Airflow."""
        tools: dict[str, Tool] = {}
        by_id = {dag.dag_id: dag for dag in dags}
        selected = [(policy, [dag.summary for dag in dags if policy.selects(dag.summary)]) for policy in self._policies]
        for summary, policy in allotted(selected):
            try:
                tool = tool_from_dag(by_id[summary.dag_id], policy)
            except ToolUnpublishable:
                continue
            except Exception:
                logger.exception("no tool could be made of the cached dag %s", summary.dag_id)
                continue
            tools.setdefault(tool.name, tool)
        return dict(sorted(tools.items()))

    async def _reviewed(self) -> Snapshot:
        """Return the found tools without those that differ from their pins."""
        if self._read_pins is None:
            return self._found
        pins, found = await asyncio.to_thread(self._read_pins), self._found
        objections = {name: pins.objection(wire_json(tool.wire)) for name, tool in found.tools.items()}
        own_objections = {wire.name: pins.objection(wire_json(wire)) for wire in found.own}
        withheld = [
            *found.withheld,
            *(Withheld(found.tools[name].dag_id, reason, "pin") for name, reason in objections.items() if reason),
            *(Withheld(name, reason, "pin") for name, reason in own_objections.items() if reason),
        ]
        return replace(
            found,
            tools={name: tool for name, tool in found.tools.items() if not objections[name]},
            withheld=tuple(sorted(withheld, key=lambda item: item.what)),
            own=tuple(wire for wire in found.own if not own_objections[wire.name]),
            unreviewed={name: tool for name, tool in found.tools.items() if objections[name]},
        )

    def _tell_operator(self, before: Snapshot, now: Snapshot) -> None:
        for item in now.withheld:
            if item not in before.withheld:
                logger.warning("not published: %s: %s", item.what, item.reason)
        if before.tools.keys() != now.tools.keys():
            logger.info("published: %s", ", ".join(now.tools) or "nothing")


def _changed(before: Snapshot, now: Snapshot) -> list[Tool]:
    """Return the tools whose published form changed, in both forms; all tools if dagcall's own changed."""
    pairs = [(before.tools.get(name), now.tools.get(name)) for name in {**before.tools, **now.tools}]
    if before.own == now.own:
        pairs = [(one, other) for one, other in pairs if not (one and other and one.wire == other.wire)]
    return [tool for pair in pairs for tool in pair if tool]
