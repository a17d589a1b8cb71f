"""The fake's front: requests in, answers out. The `…_routes` modules implement the routes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal

import httpx

from tests.fake_airflow import dag_routes, hitl_routes, run_routes, task_routes  # noqa: F401 - they register themselves
from tests.fake_airflow.access import USERS, FakeAccess, FakeUser
from tests.fake_airflow.dags import FakeDag
from tests.fake_airflow.questions import Version
from tests.fake_airflow.routing import Answer, Lines, find_route
from tests.fake_airflow.runs import Clock, FakeClock, FakeRun
from tests.fake_airflow.wire import Fault, Hold, Refusal, Route, SeenRequest


@dataclass(frozen=True)
class FakeImportError:
    filename: str
    stack_trace: str = "RuntimeError: broken on purpose\n"


class FakeAirflow:
    """A stateful Airflow of one version. It answers through `transport`; tests read and change its attributes.

    It does not really sleep, unless its clock does. A `/wait` on a run that only a test can end sends its first line
    and is then silent until the run changes; with `steady_streams` it sends a line per interval, like the real one,
    and sleeps on the clock.
    """

    def __init__(
        self,
        version: Version = "3.3.2",
        *,
        clock: Clock | None = None,
        users: Iterable[FakeUser] = USERS,
        all_admins: bool = False,
        steady_streams: bool = False,
        url: str = "http://airflow.test",
    ) -> None:
        self.version: Version = version
        self.clock = FakeClock() if clock is None else clock
        self.access = FakeAccess(self.clock, tuple(users), all_admins=all_admins)
        self.steady_streams = steady_streams
        self.url = url
        self.transport: httpx.AsyncBaseTransport = httpx.MockTransport(self.handle)
        self.latency_seconds = 0.0
        """The real duration of each answer."""
        self.is_scheduler_silent = False
        """Whether there has never been a scheduler."""
        self.silent_since: dict[str, datetime] = {}
        """Component -> its last heartbeat, if it has stopped."""
        self.auth_manager = "Simple auth manager sub application"
        """The title of the auth manager's API."""
        self.runs_in_hand = 0
        """How many runs the scheduler is processing while they are set to failed: it finds their tasks skipped and
        makes the run a success (seen on 3.3.2 under load)."""
        self.config: dict[tuple[str, str], str] | None = None
        """Section and option -> value; None if Airflow does not expose it (`[api] expose_config`), as by default."""
        self.says_date = True
        """Whether answers have a `Date` header, as those of Airflow's server do."""

        self.dags: dict[str, FakeDag] = {}
        self.runs: list[FakeRun] = []
        """In order of their triggers; changed by `add_run` and `delete`."""
        self._by_id: dict[tuple[str, str], FakeRun] = {}
        self._logical_dates: set[tuple[str, datetime | None]] = set()
        self._timed: list[FakeRun] = []
        self.import_errors: list[FakeImportError] = []
        self.parses = True
        """Whether Airflow parses each dag's file again before the dag is looked at; otherwise only a test does."""

        self.requests: list[SeenRequest] = []
        self.in_flight = 0
        self.max_in_flight = 0
        """Requests being answered; an open `/wait` stream counts in `open_streams` instead."""
        self.open_streams = 0
        self.max_open_streams = 0
        self._faults: list[Fault] = []

    # Controls for tests

    def add_dag(self, dag: FakeDag) -> FakeDag:
        self.dags[dag.dag_id] = dag
        return dag

    def parse(self, dag: FakeDag) -> None:
        """Parse the file of a dag, whether it has changed or not."""
        dag.parsed_at += timedelta(seconds=30)

    def rewrite(self, dag: FakeDag) -> None:
        """Parse the changed file of a dag. The dag gets a new version only if it has runs."""
        self.parse(dag)
        dag.version_number += any(run.dag is dag for run in self.runs)

    def show(self, *dags: FakeDag) -> None:
        """Let a list show the dags as freshly parsed, if Airflow parses them all the time."""
        for dag in dags if self.parses else ():
            self.parse(dag)

    def run(self, run_id: str, dag_id: str | None = None) -> FakeRun:
        """Return the run; KeyError if there is none."""
        if dag_id is not None:
            return self._by_id[dag_id, run_id]
        for run in self.runs:
            if run.run_id == run_id:
                return run
        raise KeyError(run_id)

    def find_run(self, dag_id: str, run_id: str) -> FakeRun | None:
        return self._by_id.get((dag_id, run_id))

    def has_run_at(self, dag_id: str, logical_date: datetime) -> bool:
        return (dag_id, logical_date) in self._logical_dates

    def add_run(self, run: FakeRun) -> None:
        """Add a run, as a trigger does."""
        self.runs.append(run)
        self._by_id[run.dag_id, run.run_id] = run
        self._logical_dates.add((run.dag_id, run.logical_date))
        if run.dag.seconds is not None:
            self._timed.append(run)

    def start(self, run: FakeRun) -> None:
        """Start the run, as the scheduler does."""
        run.start(self.clock.now())

    def finish(self, run: FakeRun, state: Literal["success", "failed"] | None = None) -> None:
        """End the run: execute its tasks, or, with `state`, set the state without executing the remaining tasks."""
        if state is None:
            run.execute(self.clock)
        else:
            run.end_by_hand(state, self.clock.now(), pending="skipped")

    def clear(self, run: FakeRun) -> None:
        """Clear the run, so that it starts again."""
        for instance in run.task_instances:
            instance.state = instance.end_date = instance.asking = None
        run.xcoms.clear()
        self.requeue(run)

    def requeue(self, run: FakeRun) -> None:
        """Set the run to queued, as `PATCH {"state": "queued"}` does."""
        run.requeue(self.clock.now())
        if run.dag.seconds is not None and run not in self._timed:
            self._timed.append(run)

    def delete(self, run: FakeRun) -> None:
        self.runs.remove(run)
        del self._by_id[run.dag_id, run.run_id]
        self._logical_dates.discard((run.dag_id, run.logical_date))
        run.is_deleted = True
        run.dag.running -= run.state == "running"
        run.set_state(run.state, self.clock.now())

    def add_fault(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    def hold(self, route: Route, *, times: int | None = 1, after_effect: bool = False) -> Hold:
        """Let the next requests of a route hang until released."""
        hold = Hold()
        self.add_fault(Fault(route=route, hold=hold, times=times, after_effect=after_effect))
        return hold

    def clear_faults(self) -> None:
        self._faults.clear()

    def requests_to(self, *routes: Route) -> list[SeenRequest]:
        return [request for request in self.requests if request.route in routes]

    # Time

    def advance(self) -> None:
        """End the runs whose time has come by the clock."""
        if not self._timed:
            return
        now = self.clock.now()
        for run in self._timed:
            if not run.is_final and not run.is_held and self._has_a_slot(run):
                if now >= run.queued_at + timedelta(seconds=run.dag.seconds or 0):
                    run.execute(self.clock)
                else:
                    run.start(now)
        self._timed = [run for run in self._timed if not run.is_final and not run.is_deleted]

    def look_at(self, run: FakeRun) -> FakeRun:
        """Count a read of the run's state, and advance the run if reads advance it."""
        run.checks += 1
        if run.dag.checks is not None and run.dag.seconds is None and not run.is_final and self._has_a_slot(run):
            if run.checks > run.dag.checks:
                run.execute(self.clock)
            else:
                run.start(self.clock.now())
        return run

    def _has_a_slot(self, run: FakeRun) -> bool:
        return run.state == "running" or (not run.dag.is_paused and run.dag.running < run.dag.max_active_runs)

    # The wire

    async def handle(self, request: httpx.Request) -> httpx.Response:
        if "target" in request.extensions:  # sent instead of the URL's path
            request.url = request.url.copy_with(raw_path=request.extensions["target"])
        await request.aread()
        with self._counted():
            await asyncio.sleep(self.latency_seconds)
            route, answer = find_route(request)
            seen = _seen(route, request)
            self.requests.append(seen)
            response = await self._respond(request, seen, answer)
            if self.says_date:
                response.headers["date"] = format_datetime(self.clock.now(), usegmt=True)
            seen.status = response.status_code
            return response

    @contextmanager
    def _counted(self) -> Any:
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    async def _respond(
        self, request: httpx.Request, seen: SeenRequest, answer: Callable[["FakeAirflow", httpx.Request], Answer]
    ) -> httpx.Response:
        fault = self._next_fault(seen)
        if fault is not None and not fault.after_effect:
            if fault.hold is not None:
                await fault.hold.pass_through()
            replaced = fault.answer(request)
            if replaced is not None:
                return replaced
        response = self._answered(request, answer, fault)
        if fault is not None and fault.after_effect:
            if fault.hold is not None:
                await fault.hold.pass_through()
            replaced = fault.answer(request)
            if replaced is not None:
                return replaced
        return response

    def _next_fault(self, seen: SeenRequest) -> Fault | None:
        for fault in self._faults:
            if fault.applies_to(seen):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    def _answered(
        self, request: httpx.Request, answer: Callable[["FakeAirflow", httpx.Request], Answer], fault: Fault | None
    ) -> httpx.Response:
        self.advance()
        try:
            status, body = answer(self, request)
        except Refusal as refusal:
            status, body = refusal.status, refusal.body
        if isinstance(body, Lines):
            stream = _Stream(self, body.lines(self, request), request, fault)
            return httpx.Response(status, headers={"transfer-encoding": "chunked"}, stream=stream)
        if status == 204:
            return httpx.Response(204, headers={"content-type": "application/json"})
        content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        headers = {"content-type": "application/json", "vary": "Accept-Encoding"}
        return httpx.Response(status, headers=headers, content=content)


def _seen(route: Route, request: httpx.Request) -> SeenRequest:
    try:
        body = json.loads(request.content) if request.content else None
    except ValueError:
        body = None
    return SeenRequest(
        route, request.method, request.url.path, request.url.params, request.headers, request.content, body
    )


class _Stream(httpx.AsyncByteStream):
    """The lines of `/wait`, one chunk each, counted as open until closed."""

    def __init__(
        self, airflow: FakeAirflow, lines: AsyncIterator[str], request: httpx.Request, fault: Fault | None
    ) -> None:
        self._airflow, self._lines, self._request = airflow, lines, request
        self._cut_after = None if fault is None else fault.cut_after_lines
        self._error = None if fault is None else fault.error
        # Starlette 0.48, used by 3.1.8, compresses without flushing: nothing arrives before the end.
        compressed = airflow.version < "3.2" and "gzip" in request.headers.get("accept-encoding", "")
        self._swallows = compressed or (fault is not None and fault.swallow_stream)
        self._is_open = True
        airflow.open_streams += 1
        airflow.max_open_streams = max(airflow.max_open_streams, airflow.open_streams)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._cut_after != 0:
            held_back, sent = list[str](), 0
            async for line in self._lines:
                if self._swallows:
                    held_back.append(line)
                else:
                    yield line.encode()
                sent += 1
                if sent == self._cut_after:
                    break
            if held_back:
                yield "".join(held_back).encode()
        if self._cut_after is not None and self._error is not None:
            raise self._error(f"{self._error.__name__} on purpose", request=self._request)

    async def aclose(self) -> None:
        if self._is_open:
            self._is_open = False
            self._airflow.open_streams -= 1
