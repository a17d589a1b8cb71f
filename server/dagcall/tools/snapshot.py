"""Which tools are published, and why the others are not."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from mcp_types import Tool as WireTool

from dagcall.tools.tool import Tool, own_tools, wire_json

WithheldKind = Literal[
    "missing",  # there is no such dag, or dagcall's account may not see it
    "hidden",  # Airflow refuses to show it
    "unreadable",  # Airflow did not answer
    "cannot_run",  # paused, stale, import errors, no manual runs
    "no_schema",  # no tool can be made of its params, or of its settings
    "no_result",  # what makes its result does not exist, or would not run
    "name_taken",
    "arguments_ignored",  # by Airflow's settings
    "pin",  # differs from its pin
    "partly",  # a part of a tool that is published without it
]


@dataclass(frozen=True, slots=True)
class Withheld:
    """Something that was selected but is not published."""

    what: str
    """A dag id, the selector of an entry that selects nothing, or a part of a tool that is published without it."""
    reason: str
    kind: WithheldKind = "no_schema"
    """The kind of the reason, for counting."""


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


def published_by(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """Return everything that agents see, including dagcall's own tools, by name."""
    wires = [*(tool.wire for tool in snapshot.tools.values()), *own_tools()]
    return {wire.name: wire_json(wire) for wire in wires}
