"""What is written down while everything goes wrong: calls, attempts, people's deeds, and in the end Airflow's runs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["call", "task", "wait", "cancel"]
_TRACE = re.compile(r"\btrace ([0-9a-f]{32})\b")


@dataclass(frozen=True)
class Told:
    """What a caller was answered."""

    text: str
    """An error, or what the answer says in words."""
    is_error: bool = False
    state: str = ""
    run_id: str = ""
    results: Mapping[str, Any] | None = None


@dataclass(eq=False)
class Attempt:
    """One attempt of a caller. All times are those of this machine's clock, in seconds."""

    number: int
    kind: Kind
    where: str
    """The replica, and the how-many-th process of it, such as `replica 0.2`."""
    way: str
    asked_at: float
    left_at: float | None = None
    """When the caller had its answer, or went away."""
    closed_at: float | None = None
    """When its connection was closed; later than `left_at` for those who say nothing."""
    told: Told | None = None
    broken: str = ""
    """How the connection broke, if it did."""
    is_in_calm: bool = False
    """Whether nothing went wrong on purpose any more."""

    @property
    def traceparent(self) -> str:
        """What makes its number stand in the note of the run that it starts."""
        return f"00-{self.number:032x}-{1:016x}-01"


@dataclass(eq=False)
class Call:
    """One call, with all attempts to make it."""

    caller: int
    tool: str
    x: int
    key: str | None
    attempts: list[Attempt] = field(default_factory=list)
    is_cancelled: bool = False
    """Whether its caller has tried to cancel it."""


@dataclass(frozen=True)
class DeedDone:
    """What a person did, or tried to do, to a run in Airflow."""

    at: float
    deed: str
    run_id: str
    ended_at: float | None
    """When the run had ended by then."""


@dataclass(frozen=True)
class AirflowRun:
    """A run, as Airflow has it when all is over."""

    run_id: str
    dag_id: str
    x: int | None
    state: str
    created_at: float
    ended_at: float | None
    note: str
    result: Any = None

    @property
    def attempt(self) -> int | None:
        """The number of the attempt that started it, as its note says."""
        found = _TRACE.search(self.note)
        return int(found[1], 16) if found else None


@dataclass(frozen=True)
class History:
    """All of it."""

    calls: list[Call]
    runs: list[AirflowRun]
    deeds: list[DeedDone]
    stalls: list[tuple[str, float, float]] = field(default_factory=list)
    """Which process of a replica was stopped, since when and until when."""
    incidents: list[str] = field(default_factory=list)
    """What servers did that they must not do: tracebacks, an end of their own accord."""
