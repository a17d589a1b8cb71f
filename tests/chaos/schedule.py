"""The faults and what each caller does, determined by a seed and a duration.

Pure. All random choices are made here: which fault happens at which second, on which request, and how each caller makes
each of its attempts. The interleaving depends on the machine, so two runs of a schedule are similar, but not identical.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tests.faults.fault_proxy import Loss

CALLERS = 14
REPLICAS = 2
CYCLE_SECONDS = 60.0
"""Each process is stopped or killed once per cycle."""
LONG_SECONDS = 120.0
"""Parts of Airflow are killed only in schedules this long: on a slow machine each takes a minute to start."""
KILLED_IN_TURN = ("api-server", "postgres", "scheduler")
"""One per minute, in an order determined by the seed."""
RECOVERY_SECONDS = 12.0
"""No processes are stopped at the end, because the time of a start must not count against a call."""
CALLS_PER_SECOND = 0.2
"""Planned for each caller: more than it can make."""

Tool = Literal["quick", "slow", "approved", "failing"]
Mode = Literal["auto", "legacy"]
Way = Literal["stays", "times out", "drops", "hangs up", "resets", "says nothing"]
"""How a caller ends an unanswered attempt:

* stays: it waits as long as it can
* times out: its SDK cancels the call, as far as the protocol allows
* drops: its process ends with all its connections
* hangs up, resets: it closes or resets the connection
* says nothing: it gives up, and the connection stays open for a while, as behind a proxy
"""
Deed = Literal["delete", "clear", "success", "failed"]


@dataclass(frozen=True)
class Move:
    """One attempt of a caller."""

    replica: int
    way: Way = "stays"
    patience: float = 40.0
    mode: Mode = "auto"
    wait_seconds: float | None = None
    """How long the server should wait; None for its default."""
    is_task: bool = False
    looks: bool = False
    """Whether it waits for the run that the caller knows, if any, instead of repeating the call."""
    cancels: bool = False
    """Whether it cancels that run."""
    pause: float = 1.0
    """The pause before the next attempt."""


@dataclass(frozen=True)
class PlannedCall:
    """One call and its caller's attempts until it has an answer; after these it stays, on alternating replicas."""

    tool: Tool
    x: int
    key: str | None
    moves: tuple[Move, ...]


@dataclass(frozen=True)
class Aim:
    """Which requests a fault applies to: patterns, as in `fault_proxy.Fault`."""

    method: str = "GET|POST|PATCH|DELETE"
    path: str = ""


ANY = Aim()
TRIGGER = Aim("POST", "/dagRuns$")
A_RUN = Aim("GET", "/dagRuns/mcp__[^/]*$")
RESULTS = Aim("GET", "/xcomEntries|/taskInstances")
NOTES = Aim("PATCH|POST", "/dagRuns(/list)?$")
AIMS = (TRIGGER, TRIGGER, TRIGGER, A_RUN, A_RUN, RESULTS, NOTES, ANY)


@dataclass(frozen=True)
class ProxyFault:
    """A fault on the requests of one replica to Airflow, from a moment on."""

    at: float
    replica: int
    name: str
    """The name of its kind, for the statistics."""
    loss: Loss
    aim: Aim = ANY
    skip: int = 0
    """How many matching requests pass first."""
    times: int = 1
    lasts: float | None = None
    """After how many seconds it ends, regardless of `times`; None for no time limit."""
    seconds: float = 0.0
    status: int = 500
    content_type: str = "application/json"
    retry_after: int | None = None
    body: bytes = b'{"detail": "a fault on purpose"}'


@dataclass(frozen=True)
class LineFault:
    """All connections of one replica to Airflow are cut; new ones may be refused for a while."""

    at: float
    replica: int
    lasts: float


@dataclass(frozen=True)
class ProcessFault:
    """A process is stopped for a while, or killed and restarted afterwards."""

    at: float
    target: str
    """`replica 0`, or a part of Airflow."""
    deed: Literal["stop", "kill"]
    lasts: float
    clock_off: float = 0.0
    """By how many seconds the clock of a restarted replica is wrong."""


@dataclass(frozen=True)
class ByHand:
    """A user changes a run in Airflow."""

    at: float
    deed: Deed
    which: int
    """Which of the existing runs, counted from the newest."""


Fault = ProxyFault | LineFault | ProcessFault | ByHand


@dataclass(frozen=True)
class Schedule:
    """Everything that a seed determines."""

    seed: int
    seconds: float
    clocks_off: tuple[float, ...]
    """By how many seconds the clock of each replica is wrong at first."""
    faults: tuple[Fault, ...]
    """In chronological order."""
    callers: tuple[tuple[PlannedCall, ...], ...]
    """Caller -> its calls in order."""


def schedule(seed: int, seconds: float) -> Schedule:
    """Return the schedule of a seed."""
    chance = random.Random(seed)  # noqa: S311 - not used for security
    clocks = tuple(_clock_off(chance) for _ in range(REPLICAS))
    faults = [*_proxy_faults(chance, seconds), *_process_faults(chance, seconds), *_deeds(chance, seconds)]
    callers = _callers(chance, int(seconds * CALLS_PER_SECOND) + 2)
    return Schedule(seed, seconds, clocks, tuple(sorted(faults, key=lambda fault: fault.at)), callers)


def _clock_off(chance: random.Random) -> float:
    return chance.choice([0.0, 0.0, 90.0, -90.0, 3600.0, -3600.0])


# Faults


def _proxy_faults(chance: random.Random, seconds: float) -> Iterator[Fault]:
    for at in _times(chance, seconds, every=1.8):
        some = ProxyFault(
            at,
            chance.randrange(REPLICAS),
            "",
            Loss.REQUEST,
            chance.choice(AIMS),
            skip=chance.choice([0, 0, 0, 1, 2]),
            times=chance.choice([1, 1, 1, 2, 4]),
        )
        lasts = round(chance.uniform(1, 6), 1)
        no_route = replace(
            some, name="no route", loss=Loss.REPLACED, aim=ANY, skip=0, times=1_000_000, lasts=lasts, status=404,
            content_type="text/plain", body=b"404 page not found\n",
        )  # fmt: skip
        kinds: list[Fault] = [
            replace(some, name="request lost", loss=Loss.REQUEST),
            replace(some, name="answer lost", loss=Loss.ANSWER),
            replace(some, name="answer cut", loss=Loss.HALF_THE_ANSWER),
            replace(some, name="no answer", loss=Loss.SILENCE, times=1),
            replace(some, name="late answer", loss=Loss.DELAY, seconds=round(chance.uniform(0.5, 6), 1)),
            replace(some, name="429", loss=Loss.REPLACED, status=429, retry_after=chance.choice([1, 2])),
            replace(some, name="5xx", loss=Loss.REPLACED, status=chance.choice([500, 502, 503])),
            replace(some, name="5xx after the effect", loss=Loss.REPLACED_AFTER_EFFECT, status=502),
            replace(
                some, name="garbled answer", loss=Loss.REPLACED_AFTER_EFFECT, status=200, body=b'{"dag_run_id": "mc'
            ),
            replace(
                some, name="a page", loss=Loss.REPLACED_AFTER_EFFECT, status=200, content_type="text/html",
                body=b"<html>Please log in</html>",
            ),
            no_route,
            LineFault(at, some.replica, lasts=chance.choice([0.0, 0.0, lasts])),
        ]  # fmt: skip
        yield chance.choice(kinds)
        if chance.random() < 0.15:  # an ingress loses its route while the answer to a trigger is lost
            yield replace(some, name="answer lost", loss=Loss.ANSWER, aim=TRIGGER, skip=0, times=1)
            yield replace(no_route, at=at + 0.5)


def _process_faults(chance: random.Random, seconds: float) -> Iterator[Fault]:
    """Stop and kill each process in turn."""
    end = seconds - RECOVERY_SECONDS
    begin = 3.0
    to_kill = itertools.cycle(chance.sample(KILLED_IN_TURN, len(KILLED_IN_TURN)))
    while begin < end:
        length = min(CYCLE_SECONDS, end - begin)
        for _ in range(3):
            for replica in range(REPLICAS):
                yield ProcessFault(
                    begin + chance.uniform(0, length), f"replica {replica}", "stop", round(chance.uniform(0.3, 6), 1)
                )
        for replica in range(REPLICAS):
            yield ProcessFault(
                begin + chance.uniform(0, length),
                f"replica {replica}",
                "kill",
                round(chance.uniform(0, 4), 1),
                clock_off=_clock_off(chance),
            )
        for target in ("api-server", "scheduler", "postgres", "triggerer"):
            yield ProcessFault(begin + chance.uniform(0, length), target, "stop", round(chance.uniform(1, 6), 1))
        if seconds >= LONG_SECONDS:
            at = begin + chance.uniform(0, length)
            yield ProcessFault(at, next(to_kill), "kill", round(chance.uniform(0, 3), 1))
        begin += CYCLE_SECONDS


def _deeds(chance: random.Random, seconds: float) -> Iterator[Fault]:
    deeds: list[Deed] = ["delete", "clear", "success", "failed"]
    for at in _times(chance, seconds, every=7):
        yield ByHand(at, chance.choice(deeds), chance.randrange(6))


def _times(chance: random.Random, seconds: float, *, every: float) -> Iterator[float]:
    """Yield moments with this average pause."""
    at = chance.expovariate(1 / every)
    while at < seconds:
        yield round(at, 2)
        at += chance.expovariate(1 / every)


# Callers


def _callers(chance: random.Random, count: int) -> tuple[tuple[PlannedCall, ...], ...]:
    """Return `count` calls for each caller; sometimes two callers make the same call."""
    plans: list[list[PlannedCall]] = [[] for _ in range(CALLERS)]
    for number in range(count):
        for caller, plan in enumerate(plans):
            tool = chance.choice(TOOLS)
            x = 1 + number * CALLERS + caller
            key = f"order-{x}" if chance.random() < 0.35 else None
            if caller and chance.random() < 0.1:  # the same call as the previous caller
                other = plans[caller - 1][number]
                tool, x, key = other.tool, other.x, other.key
            plan.append(PlannedCall(tool, x, key, tuple(_moves(chance, tool))))
    return tuple(tuple(plan) for plan in plans)


TOOLS: Sequence[Tool] = ("quick", "quick", "slow", "slow", "slow", "approved", "failing")


def _moves(chance: random.Random, tool: Tool) -> Iterator[Move]:
    replica = chance.randrange(REPLICAS)
    for _ in range(chance.choice([0, 1, 1, 2, 2, 3])):
        yield _leaving(chance, replica)
        replica = (replica + chance.choice([0, 1, 1])) % REPLICAS
    if chance.random() < 0.1:
        yield Move(replica, wait_seconds=0.2, pause=chance.choice([0.0, 1.0]))
        yield Move((replica + chance.choice([0, 1])) % REPLICAS, cancels=True)
    mode: Mode = "auto" if tool == "approved" else chance.choice(["auto", "auto", "legacy"])
    wait_seconds = chance.choice([None, None, None, 0.5, 3.0])
    is_task = mode == "auto" and tool != "approved" and wait_seconds is None and chance.random() < 0.25
    yield Move(replica, mode=mode, wait_seconds=wait_seconds, is_task=is_task, pause=chance.choice([0.5, 2.0]))
    yield Move((replica + 1) % REPLICAS, looks=chance.random() < 0.5)


def _leaving(chance: random.Random, replica: int) -> Move:
    """Return an attempt whose caller gives up."""
    ways: list[Way] = ["times out", "drops", "hangs up", "resets", "says nothing"]
    return Move(
        replica,
        way=chance.choice(ways),
        patience=chance.choice([0.02, 0.1, 0.5, 1.0, 2.0, 4.0]),
        mode=chance.choice(["auto", "auto", "legacy"]),
        pause=chance.choice([0.0, 0.02, 0.5, 1.5, 3.0]),
    )
