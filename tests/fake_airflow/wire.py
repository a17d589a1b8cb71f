"""The wire: recorded requests, refusals, injected faults."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import httpx

Route: TypeAlias = Literal[
    "version",
    "config",
    "health",
    "log_in",
    "log_in_anonymously",
    "auth_manager",
    "dags",
    "dag",
    "dag_details",
    "patch_dag",
    "tasks",
    "dag_versions",
    "import_errors",
    "trigger",
    "run",
    "patch_run",
    "patch_runs",
    "delete_run",
    "clear_run",
    "backfill_dry_run",
    "wait",
    "list_runs",
    "runs",
    "task_instances",
    "list_task_instances",
    "dependencies",
    "xcoms",
    "xcom",
    "log",
    "hitl_details",
    "hitl_detail",
    "respond",
    "unknown",
]


class Refusal(Exception):
    """A refusal by Airflow: a status and a `detail`."""

    def __init__(self, status: int, detail: Any, *, body: Any = None) -> None:
        super().__init__(status, detail)
        self.status = status
        self.body = {"detail": detail} if body is None else body


@dataclass(eq=False)
class SeenRequest:
    """One request as received, and the status of its answer."""

    route: Route
    method: str
    path: str
    query: httpx.QueryParams
    headers: httpx.Headers
    content: bytes
    json: Any
    """The body parsed as JSON; None without a body, or if it is not JSON."""
    status: int | None = None
    """None until it is answered, and permanently if a fault broke the connection."""


class Hold:
    """Requests wait here until released: `await hold.arrived()`, then `hold.release()`."""

    def __init__(self) -> None:
        self._arrivals = asyncio.Semaphore(0)
        self._released = asyncio.Event()

    async def arrived(self, count: int = 1) -> None:
        """Wait for `count` more requests."""
        for _ in range(count):
            await self._arrivals.acquire()

    def release(self) -> None:
        self._released.set()

    async def pass_through(self) -> None:
        self._arrivals.release()
        await self._released.wait()


@dataclass(eq=False, kw_only=True)
class Fault:
    """A fault on the next `times` requests of a route.

    In this order: the request is held (`hold`); Airflow processes it only with `after_effect`; then `error` is raised
    (a lost connection), or the answer is `status` and `body`. A fault with neither lets the request through.
    """

    route: Route | None = None
    """None for any route."""
    status: int | None = None
    body: Any = None
    """A string is sent as HTML, as by a proxy; anything else as JSON."""
    headers: Mapping[str, str] = field(default_factory=dict)
    error: type[httpx.TransportError] | None = None
    after_effect: bool = False
    """Airflow processes the request; only the answer is lost."""
    hold: Hold | None = None
    times: int | None = 1
    """None to apply until `FakeAirflow.clear_faults`."""
    when: Callable[[SeenRequest], bool] = lambda _: True
    cut_after_lines: int | None = None
    """For `wait`: the stream ends after this many lines, with `error` if given, otherwise as if it were complete."""
    swallow_stream: bool = False
    """For `wait`: nothing arrives before the run ends, as behind a buffering proxy."""

    def applies_to(self, request: SeenRequest) -> bool:
        return self.times != 0 and self.route in {None, request.route} and self.when(request)

    def answer(self, request: httpx.Request) -> httpx.Response | None:
        """Return the answer that replaces Airflow's, or raise; None if the fault does not change the answer."""
        if self.cut_after_lines is not None or self.swallow_stream:
            return None
        if self.error is not None:
            raise self.error(f"{self.error.__name__} on purpose", request=request)
        if self.status is None:
            return None
        if isinstance(self.body, str):
            return httpx.Response(self.status, headers=self.headers, html=self.body)
        body = {"detail": "a fault on purpose"} if self.body is None else self.body
        return httpx.Response(self.status, headers=self.headers, json=body)
