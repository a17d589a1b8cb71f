"""The environment of the calls: an Airflow, dagcall processes, and a connection from each process to Airflow."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import httpx
from mcp import Client

from dagcall.app import Dagcall, assembled
from dagcall.runs.delivery_marks import CANCELLED
from dagcall.settings.settings import Settings
from tests.fake_airflow import NOTSET, FakeAirflow, FakeDag, FakeParam, FakeRun, FakeTask, Fault
from tests.fake_airflow.routing import find_route
from tests.fake_airflow.wire import Route
from tests.support.task_client import Declared, TaskClient
from tests.support.virtual_time import LoopClock, VirtualTimeLoop

LATENCY_SECONDS = 0.02
SLOW_SECONDS = 1.0
"""A request that takes longer counts as faulty."""
REUSE_SECONDS = 30.0
POLICIES: dict[str, dict[str, Any]] = {
    "adopt": {},
    "new": {"repeat": "new"},
    "key_only": {"repeat": "key_only"},
    "read_only": {"annotations": {"read_only": True}},
    "fail": {"on_cancel": "fail"},
    "fail_new": {"on_cancel": "fail", "repeat": "new"},
    "reuse": {"reuse_seconds": REUSE_SECONDS},
}
"""Tool -> its settings. Each tool has a dag of the same name."""

Wire = dict[str, Any]


class WatchedAirflow(FakeAirflow):
    """An Airflow that reports each new run."""

    def __init__(self, loop: VirtualTimeLoop, on_run: Callable[[FakeRun], None]) -> None:
        super().__init__(clock=LoopClock(loop), steady_streams=True)
        self.latency_seconds = LATENCY_SECONDS
        self._on_run = on_run
        total = FakeTask("total", lambda params: params["x"] + 1)
        for tool in POLICIES:
            x = {"x": FakeParam(NOTSET, type="integer")}
            self.add_dag(FakeDag(tool, params=x, tasks=[total], checks=None))

    def add_run(self, run: FakeRun) -> None:
        super().add_run(run)
        self._on_run(run)


@dataclass(frozen=True)
class Hit:
    """A faulty request."""

    since: float
    at: float
    route: Route


@dataclass(eq=False, kw_only=True)
class Trouble(Fault):
    """A fault that is recorded on the connection it hits, unless it must not affect any answer."""

    is_excuse: bool = True

    def answer(self, request: httpx.Request) -> httpx.Response | None:
        if self.is_excuse:
            request.extensions["line"].hit(request)
        return super().answer(request)


class Line(httpx.AsyncBaseTransport):
    """The connection of a process to Airflow. When cut, it swallows requests; those sent before still take effect."""

    def __init__(self, airflow: FakeAirflow, now: Callable[[], float]) -> None:
        self._airflow = airflow
        self._now = now
        self.is_cut = False
        self.hits: list[Hit] = []
        self.kills: list[tuple[float, str]] = []
        """When dagcall set which run to failed without a caller's request to cancel it."""
        self._sent: dict[httpx.Request, float] = {}
        """When each request in flight was sent."""
        self.most_in_flight = 0

    def hit(self, request: httpx.Request) -> None:
        """Record a faulty request."""
        self.hits.append(self._hit(request))

    def all_hits(self) -> list[Hit]:
        """Return the faulty requests, including those that are overdue."""
        late = [request for request, sent_at in self._sent.items() if self._now() - sent_at > SLOW_SECONDS]
        return self.hits + [self._hit(request) for request in late]

    def _hit(self, request: httpx.Request) -> Hit:
        route, _ = find_route(request)
        return Hit(self._sent.get(request, self._now()), self._now(), route)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut:
            await asyncio.Event().wait()
        await self._note_kill(request)
        request.extensions["line"] = self
        self._sent[request] = sent_at = self._now()
        log_ins = sum(request.extensions["target"] == b"/auth/token" for request in self._sent)
        self.most_in_flight = max(self.most_in_flight, len(self._sent) - log_ins)
        answering = asyncio.ensure_future(self._airflow.handle(request))
        answering.add_done_callback(lambda task: task.cancelled() or task.exception())  # the sender may be cancelled
        try:
            async with asyncio.timeout(request.extensions["timeout"]["read"]):
                return await asyncio.shield(answering)
        except TimeoutError as error:
            raise httpx.ReadTimeout("nothing came", request=request) from error
        finally:
            if self._now() - sent_at > SLOW_SECONDS:
                self.hit(request)
            del self._sent[request]

    async def _note_kill(self, request: httpx.Request) -> None:
        content = await request.aread()
        if request.method == "PATCH" and b'"state":"failed"' in content:
            is_cancelled = CANCELLED in (json.loads(content).get("note") or "")
            if not is_cancelled:
                self.kills.append((self._now(), request.extensions["target"].decode().rpartition("/")[2]))


class Process:
    """A dagcall process with one client."""

    def __init__(self, airflow: FakeAirflow, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self.line = Line(airflow, loop.time)
        self._clock = LoopClock(loop)
        self._settings = Settings.model_validate(
            {
                "airflow": {"url": airflow.url, "username": "admin", "password": "admin"},
                "server": {"secret": "s" * 32},
                "tools": [{"dag": tool, **policy} for tool, policy in POLICIES.items()],
            }
        )
        self.dagcall: Dagcall
        self.client: TaskClient
        self.is_ready = asyncio.Event()
        self.has_crashed = False
        self.is_stopping = False
        self._is_over = asyncio.Event()
        self._calls = set[asyncio.Task[Wire]]()
        self._serving = loop.create_task(self._serve())

    async def _serve(self) -> None:
        async with assembled(
            self._settings, wait_seconds=3600, transport=self.line, wall_clock=self._clock.now
        ) as self.dagcall:
            await self.dagcall.catalog.refresh()
            async with Client(self.dagcall.mcp.sdk, extensions=[Declared()]) as client:
                self.client = TaskClient(client)
                self.is_ready.set()
                await self._is_over.wait()

    @property
    def is_away(self) -> bool:
        """Whether its circuit breaker is open."""
        return self.dagcall.waiter.api.rest.gate.breaker.is_open

    @property
    def is_over(self) -> bool:
        """Whether it has stopped or crashed."""
        return self.has_crashed or self._is_over.is_set()

    def begin(self, calling: Coroutine[Any, Any, Wire]) -> asyncio.Task[Wire]:
        """Start a request that is cancelled when the process ends."""
        task = self._loop.create_task(calling)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task

    def begin_stop(self) -> None:
        """Refuse new calls."""
        self.is_stopping = True
        self.dagcall.mcp.begin_stop()

    async def stop(self) -> None:
        """Shut down."""
        await self._break_off(*self._calls)
        self._is_over.set()
        await asyncio.gather(self._serving, return_exceptions=True)

    async def crash(self) -> None:
        """End at once: nothing that the process sends at its end reaches Airflow."""
        self.line.is_cut = self.has_crashed = True
        await self._break_off(*self._calls, self._serving)  # an in-memory call runs in its caller's task

    async def _break_off(self, *tasks: asyncio.Task[Any]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
