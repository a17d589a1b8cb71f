"""A model of Airflow under load, in virtual time, and replicas of dagcall's gate in front of it.

A stock api-server is one Python process: 60 % of a request is its own work, one request after the other in no strict
order, the rest is the database's. It answers about 140 reads a second. With 15 or more requests in flight, one for each
database connection, it stops answering sooner or later: 20 at once pass, 16 for some seconds do not, and neither do 30.
"""

import asyncio
import math
import random
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from dagcall.airflow.gate import Gate, Purpose


class Request(Enum):
    """Kinds of requests, with their latency on an idle Airflow in seconds, and what dagcall assumes of it."""

    READ = (Purpose.RESULT, 0.012, 0.02)
    LOG = (Purpose.RESULT, 0.1, 0.1)
    TRIGGER = (Purpose.TRIGGER, 0.031, 0.05)

    def __init__(self, purpose: Purpose, seconds: float, assumed: float) -> None:
        self.purpose, self.seconds, self.assumed = purpose, seconds, assumed


OWN_WORK = 0.6
SPREAD = 0.35
"""The standard deviation of a latency's logarithm."""
CONNECTIONS = 15
LONGEST_WITHOUT_CONNECTION = 1.0
MOST_AT_ONCE = 30


class ApiServer:
    """One api-server process."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._line: deque[asyncio.Future[None]] = deque()
        self._is_working = False
        self._paused_until = 0.0
        self._too_many_since: float | None = None
        self.inside = 0
        self.most_inside = 0
        self.is_wedged = False
        self.slowness = 1.0

    async def answer(self, request: Request) -> None:
        """Answer a request."""
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self._look()
        try:
            if self._is_working:
                turn = asyncio.get_running_loop().create_future()
                self._line.append(turn)
                await turn
            self._is_working = True
            seconds = request.seconds * self.slowness * math.exp(self._chance.gauss(0, SPREAD))
            pause = max(self._paused_until - asyncio.get_running_loop().time(), 0.0)
            await asyncio.sleep(seconds * OWN_WORK + pause)
            self._next()
            await asyncio.sleep(seconds * (1 - OWN_WORK))
        finally:
            self.inside -= 1
            self._look()

    def pause(self, seconds: float) -> None:
        """Do nothing for some time, as while collecting garbage."""
        self._paused_until = asyncio.get_running_loop().time() + seconds

    def _next(self) -> None:
        if not self._line:
            self._is_working = False
            return
        if self._chance.random() < 0.5:
            self._line.rotate(-self._chance.randrange(len(self._line)))
        self._line.popleft().set_result(None)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        if self.inside <= CONNECTIONS:
            self._too_many_since = None
        elif self._too_many_since is None:
            self._too_many_since = now
        too_long = self._too_many_since is not None and now - self._too_many_since > LONGEST_WITHOUT_CONNECTION
        self.is_wedged |= too_long or self.inside >= MOST_AT_ONCE


@dataclass
class SimulatedAirflow:
    """Api-servers behind a load balancer, which prefers the least busy one."""

    servers: int
    seed: int
    chance: random.Random = field(init=False)
    api_servers: list[ApiServer] = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 - no secret
        self.api_servers = [ApiServer(self.chance) for _ in range(self.servers)]

    @property
    def is_wedged(self) -> bool:
        return any(server.is_wedged for server in self.api_servers)

    @property
    def most_inside(self) -> int:
        """The most requests in flight at one api-server."""
        return max(server.most_inside for server in self.api_servers)

    async def answer(self, request: Request) -> None:
        await min(self.api_servers, key=lambda server: (server.inside, self.chance.random())).answer(request)

    def become(self, slowness: float) -> None:
        """Answer so many times as slowly as a stock Airflow."""
        for server in self.api_servers:
            server.slowness = slowness

    async def be_noisy(self) -> None:
        """Collect garbage at times, and be slow while the scheduler loads the database."""
        await asyncio.gather(self._be_slow_at_times(), *(self._collect_garbage(server) for server in self.api_servers))

    async def _collect_garbage(self, server: ApiServer) -> None:
        while True:
            await asyncio.sleep(self.chance.expovariate(1 / 3))
            server.pause(self.chance.uniform(0.05, 0.25))

    async def _be_slow_at_times(self) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(5, 20))
            usual = self.api_servers[0].slowness
            try:
                self.become(usual * 1.8)
                await asyncio.sleep(self.chance.uniform(0.5, 3))
            finally:
                self.become(usual)


class Replica:
    """A gate of dagcall in front of a simulated Airflow."""

    def __init__(self, airflow: SimulatedAirflow, gate: Gate | None = None) -> None:
        self._airflow = airflow
        self.gate = gate or Gate()
        self.answered: Counter[Request] = Counter()

    async def ask(self, request: Request) -> None:
        """Send a request through the gate."""
        async with self.gate.place(request.purpose) as place:
            await self._airflow.answer(request)
            self.gate.answered()
            place.took(request.name, calm=request.assumed)
        self.answered[request] += 1

    async def ask_all_the_time(self, seconds: float, loops: int, requests: Sequence[Request] = (Request.READ,)) -> None:
        """Keep so many requests in flight or waiting, for some time."""
        now = asyncio.get_running_loop().time
        end = now() + seconds

        async def one() -> None:
            while now() < end:
                await self.ask(self._airflow.chance.choice(requests))

        await asyncio.gather(*(one() for _ in range(loops)))

    async def ask_now_and_then(self, times: int, every: float, request: Request = Request.READ) -> None:
        """Send some requests, one at a time."""
        for _ in range(times):
            await asyncio.sleep(self._airflow.chance.expovariate(1 / every))
            await self.ask(request)
