"""The record of a chaos run: calls, attempts, changes by users, and finally Airflow's runs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["call", "task", "wait", "cancel"]
_TRACE = re.compile(r"\btrace ([0-9a-f]{32})\b")


@dataclass(frozen=True)
class Told:
    """The answer that a caller got."""

    text: str
    """The error, or the answer's message."""
    is_error: bool = False
    state: str = ""
    run_id: str = ""
    results: Mapping[str, Any] | None = None


@dataclass(eq=False)
class Attempt:
    """One attempt of a caller. All times are by this machine's clock, in seconds."""

    number: int
    kind: Kind
    where: str
    """The replica and the number of its process, such as `replica 0.2`."""
    way: str
    asked_at: float
    left_at: float | None = None
    """When the caller had its answer, or gave up."""
    closed_at: float | None = None
    """When its connection was closed; later than `left_at` if the caller said nothing."""
    told: Told | None = None
    broken: str = ""
    """How the connection broke, if it did."""
    is_in_calm: bool = False
    """Whether all injected faults had ended."""

    @property
    def traceparent(self) -> str:
        """The trace header that puts the attempt's number into the note of its run."""
        return f"00-{self.number:032x}-{1:016x}-01"


@dataclass(eq=False)
class Call:
    """One call with all its attempts."""

    caller: int
    tool: str
    x: int
    key: str | None
    attempts: list[Attempt] = field(default_factory=list)
    is_cancelled: bool = False
    """Whether its caller has tried to cancel it."""


@dataclass(frozen=True)
class DeedDone:
    """A change, or attempted change, of a run by a user of Airflow."""

    at: float
    deed: str
    run_id: str
    ended_at: float | None
    """When the run had ended, if it had."""


@dataclass(frozen=True)
class AirflowRun:
    """A run, as Airflow reports it at the end."""

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
        """The number of the attempt that started it, from its note."""
        found = _TRACE.search(self.note)
        return int(found[1], 16) if found else None


@dataclass(frozen=True)
class History:
    """The whole record."""

    calls: list[Call]
    runs: list[AirflowRun]
    deeds: list[DeedDone]
    stalls: list[tuple[str, float, float]] = field(default_factory=list)
    """Which process of a replica was stopped, from when until when."""
    incidents: list[str] = field(default_factory=list)
    """Failures of the servers: tracebacks, unexpected exits."""
