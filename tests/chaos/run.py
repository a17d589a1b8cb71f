"""A chaos run from start to end: faults, recovery, every caller comes back, judgement."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from tests.chaos.callers import Callers
from tests.chaos.faults import Saboteur, time_of
from tests.chaos.history import AirflowRun, Call, History
from tests.chaos.judge import Findings, is_over, judge, meaning_of, stories
from tests.chaos.replicas import TOOLS, Replica, replicas
from tests.chaos.schedule import Move, Schedule
from tests.faults.record import Json, Record, until
from tests.support.own_airflow import OwnAirflow

PROBE_SECONDS = 240.0
"""How long a replica may take to recover after the faults."""
BACK_SECONDS = 240.0
"""How long callers retry when they come back."""
STUCK_SECONDS = 90.0
"""When runs that Airflow itself has lost are set to failed during this time."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a schedule."""

    schedule: Schedule
    history: History
    findings: Findings
    faults: Counter[str]
    stuck: int
    """Runs that Airflow did not end by itself."""

    def as_json(self) -> dict[str, Any]:
        """Return the findings to be stored."""
        attempts = [attempt for call in self.history.calls for attempt in call.attempts]
        told: Counter[str] = Counter(meaning_of(attempt.told) for attempt in attempts if attempt.told)
        told["nothing: the connection broke"] = sum(bool(attempt.broken) for attempt in attempts)
        told["nothing: the caller had gone"] = sum(not (attempt.broken or attempt.told) for attempt in attempts)
        return {
            "seed": self.schedule.seed,
            "seconds": self.schedule.seconds,
            "callers": len(self.schedule.callers),
            "replicas": len(self.schedule.clocks_off),
            "calls": len(self.history.calls),
            "calls_with_a_key": sum(call.key is not None for call in self.history.calls),
            "attempts": len(attempts),
            "attempts_when_all_was_well": sum(attempt.is_in_calm for attempt in attempts),
            "attempts_by_kind": dict(sorted(Counter(attempt.kind for attempt in attempts).items())),
            "attempts_by_way": dict(sorted(Counter(attempt.way for attempt in attempts).items())),
            "told": dict(sorted(told.items())),
            "runs": len(self.history.runs),
            "runs_by_state": dict(sorted(Counter(run.state for run in self.history.runs).items())),
            "runs_that_airflow_lost": self.stuck,
            "faults": dict(sorted((kind, count) for kind, count in self.faults.items() if count)),
            "lost": len(self.findings.lost),
            "doubled": len(self.findings.doubled),
            "wrong": len(self.findings.wrong),
            "unexplained": len(self.findings.unexplained),
            "excused": dict(self.findings.excused),
        }


async def chaos(schedule: Schedule, airflow: OwnAirflow, tell: Tell) -> Outcome:
    """Run a schedule on an Airflow that may have run others before."""
    async with Record(airflow.url, airflow.admin_password) as record:
        for tool in TOOLS:
            await until(partial(record.has_dag, tool))
        async with replicas(airflow, schedule.clocks_off) as servers:
            outcome = await _Chaos(schedule, airflow, servers, record, tell).whole()
    (airflow.folder.path / f"stories-{schedule.seed}.txt").write_text(stories(outcome.history))
    return outcome


class _Chaos:
    def __init__(
        self, schedule: Schedule, airflow: OwnAirflow, servers: list[Replica], record: Record, tell: Tell
    ) -> None:
        self._schedule = schedule
        self._airflow = airflow
        self._servers = servers
        self._record = record
        self._tell = tell
        self._callers = Callers(servers)
        self._saboteur = Saboteur(airflow, servers, record)
        self._incidents: list[str] = []
        self._stuck = 0

    async def whole(self) -> Outcome:
        await self._inject_faults()
        await self._wait_for_recovery()
        await self._let_callers_come_back()
        for server in self._servers:
            await server.stop()
            self._incidents += server.incidents
        stalls = [stall for server in self._servers for stall in server.stalls]
        history = History(self._callers.calls, await self._runs(), self._saboteur.deeds, stalls, self._incidents)
        return Outcome(self._schedule, history, judge(history), self._saboteur.done, self._stuck)

    async def _inject_faults(self) -> None:
        seconds = self._schedule.seconds
        self._tell(f"{seconds:.0f} s of faults: {len(self._schedule.faults)} are planned")
        ends_at = asyncio.get_running_loop().time() + seconds
        async with asyncio.TaskGroup() as everything:
            everything.create_task(self._saboteur.carry_out_all(self._schedule.faults))
            for number, plan in enumerate(self._schedule.callers):
                everything.create_task(self._callers.live(number, plan, ends_at))
        await self._callers.aclose()
        self._saboteur.end_all()

    async def _wait_for_recovery(self) -> None:
        """Wait until Airflow is healthy and each replica works again."""
        open_calls = sum(not is_over(call) for call in self._callers.calls)
        self._tell(f"{len(self._callers.calls)} calls were made, {open_calls} are open; waiting for the recovery")
        await self._airflow.until_healthy()
        await asyncio.gather(*(self._probe(server) for server in self._servers))

    async def _probe(self, server: Replica) -> None:
        call = Call(-1 - server.number, "quick", 1_000_000 + server.number, None)
        self._callers.calls.append(call)
        began = time.monotonic()
        while not is_over(call):
            if time.monotonic() - began > PROBE_SECONDS:
                self._incidents.append(f"{server.name} has not recovered after the faults")
                return
            await self._callers.attempt(call, Move(server.number))
            await asyncio.sleep(0.5)

    async def _let_callers_come_back(self) -> None:
        open_calls = [call for call in self._callers.calls if not is_over(call)]
        self._tell(f"recovered; {len(open_calls)} callers come back")
        freeing = asyncio.create_task(self._end_lost_runs())
        await asyncio.gather(*(self._callers.come_back(call, BACK_SECONDS) for call in open_calls))
        await freeing

    async def _end_lost_runs(self) -> None:
        """Wait until all runs have ended; set those that Airflow itself has lost to failed."""
        began = time.monotonic()
        while unfinished := [run for run in await self._airflow_runs() if run["end_date"] is None]:
            if time.monotonic() - began > STUCK_SECONDS:
                for run in unfinished:
                    await self._saboteur.do(run, "failed")
                    self._stuck += 1
            await asyncio.sleep(1)

    async def _airflow_runs(self) -> list[Json]:
        return await self._saboteur.runs()

    async def _runs(self) -> list[AirflowRun]:
        return [
            AirflowRun(
                run["dag_run_id"],
                run["dag_id"],
                (run["conf"] or {}).get("x"),
                run["state"],
                datetime.fromisoformat(run["run_after"]).timestamp(),
                time_of(run["end_date"]),
                run["note"] or "",
                await self._record.xcom_or_none(run) if run["state"] == "success" else None,
            )
            for run in await self._airflow_runs()
        ]
