"""What goes wrong when, and what each caller does: all of it follows from a seed and a length of time.

Pure. Nothing is drawn later: which fault comes at which second, on which request, and how each caller makes each of its
attempts. What meets what is the machine's affair, so two runs of a schedule are alike, and not the same.
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
"""In each cycle, everything that may be stopped or killed has its turn."""
LONG_SECONDS = 120.0
"""Parts of Airflow are killed only where there is so much time: on a slow machine each takes a minute to start."""
KILLED_IN_TURN = ("api-server", "postgres", "scheduler")
"""By the order that the seed says, one each minute."""
RECOVERY_SECONDS = 12.0
"""At the end, only the proxies make trouble: nobody is to be judged by how long a start takes."""
CALLS_PER_SECOND = 0.2
"""Planned for each caller: more than it will get to."""

Tool = Literal["quick", "slow", "approved", "failing"]
Mode = Literal["auto", "legacy"]
Way = Literal["stays", "times out", "drops", "hangs up", "resets", "says nothing"]
"""How a caller ends an attempt that has not been answered:

* stays: with all its patience
* times out: its SDK tells the server, as far as the protocol has a way to
* drops: its process ends, and all of its connections
* hangs up, resets: it closes the connection, in order or not
* says nothing: it goes away, and the connection stays open for a while, as one behind a proxy does
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
    """How long the server is to wait; None for as long as it does."""
    is_task: bool = False
    looks: bool = False
    """Whether it waits for the run of which the caller was told, if it was, in place of calling again."""
    cancels: bool = False
    """Whether it cancels that run."""
    pause: float = 1.0
    """Until the next attempt."""


@dataclass(frozen=True)
class PlannedCall:
    """One call, and how its caller makes it until it has an answer; then it stays, on one replica after the other."""

    tool: Tool
    x: int
    key: str | None
    moves: tuple[Move, ...]


@dataclass(frozen=True)
class Aim:
    """Which requests a fault is meant for: patterns, as `fault_proxy.Fault` has them."""

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
    """Requests of one replica to Airflow that go wrong, from a moment on."""

    at: float
    replica: int
    name: str
    """Of its kind, for the count."""
    loss: Loss
    aim: Aim = ANY
    skip: int = 0
    """How many of these requests pass before that."""
    times: int = 1
    lasts: float | None = None
    """When it is over, in seconds, however many requests have come by then; None where `times` says it all."""
    seconds: float = 0.0
    status: int = 500
    content_type: str = "application/json"
    retry_after: int | None = None
    body: bytes = b'{"detail": "a fault on purpose"}'


@dataclass(frozen=True)
class LineFault:
    """All connections of one replica to Airflow are cut; it may take a while until new ones are welcome."""

    at: float
    replica: int
    lasts: float


@dataclass(frozen=True)
class ProcessFault:
    """A process is stopped for a while, or killed and started anew after it."""

    at: float
    target: str
    """`replica 0`, or a part of Airflow."""
    deed: Literal["stop", "kill"]
    lasts: float
    clock_off: float = 0.0
    """How many seconds the clock of a replica is off when it starts anew."""


@dataclass(frozen=True)
class ByHand:
    """A person does something to a run in Airflow."""

    at: float
    deed: Deed
    which: int
    """Of those that are there then, counted from the newest."""


Fault = ProxyFault | LineFault | ProcessFault | ByHand


@dataclass(frozen=True)
class Schedule:
    """All that follows from a seed."""

    seed: int
    seconds: float
    clocks_off: tuple[float, ...]
    """By how many seconds the clock of each replica is off at first."""
    faults: tuple[Fault, ...]
    """In the order of time."""
    callers: tuple[tuple[PlannedCall, ...], ...]
    """Caller -> its calls, one after the other."""


def schedule(seed: int, seconds: float) -> Schedule:
    """Return what a seed means."""
    chance = random.Random(seed)  # noqa: S311 - a schedule is no secret
    clocks = tuple(_clock_off(chance) for _ in range(REPLICAS))
    faults = [*_proxy_faults(chance, seconds), *_process_faults(chance, seconds), *_deeds(chance, seconds)]
    callers = _callers(chance, int(seconds * CALLS_PER_SECOND) + 2)
    return Schedule(seed, seconds, clocks, tuple(sorted(faults, key=lambda fault: fault.at)), callers)


def _clock_off(chance: random.Random) -> float:
    return chance.choice([0.0, 0.0, 90.0, -90.0, 3600.0, -3600.0])


# What goes wrong


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
        if chance.random() < 0.15:  # an ingress loses its route just as the answer to a trigger is lost
            yield replace(some, name="answer lost", loss=Loss.ANSWER, aim=TRIGGER, skip=0, times=1)
            yield replace(no_route, at=at + 0.5)


def _process_faults(chance: random.Random, seconds: float) -> Iterator[Fault]:
    """Stop and kill everything in turn; the shorter a cycle is, the less of it."""
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
    """Return moments with this pause between them on average."""
    at = chance.expovariate(1 / every)
    while at < seconds:
        yield round(at, 2)
        at += chance.expovariate(1 / every)


# What callers do


def _callers(chance: random.Random, count: int) -> tuple[tuple[PlannedCall, ...], ...]:
    """Return so many calls for each caller; now and then two callers make the same one."""
    plans: list[list[PlannedCall]] = [[] for _ in range(CALLERS)]
    for number in range(count):
        for caller, plan in enumerate(plans):
            tool = chance.choice(TOOLS)
            x = 1 + number * CALLERS + caller
            key = f"order-{x}" if chance.random() < 0.35 else None
            if caller and chance.random() < 0.1:  # the same as the caller before
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
    """Return an attempt whose caller loses its patience."""
    ways: list[Way] = ["times out", "drops", "hangs up", "resets", "says nothing"]
    return Move(
        replica,
        way=chance.choice(ways),
        patience=chance.choice([0.02, 0.1, 0.5, 1.0, 2.0, 4.0]),
        mode=chance.choice(["auto", "auto", "legacy"]),
        pause=chance.choice([0.0, 0.02, 0.5, 1.5, 3.0]),
    )
