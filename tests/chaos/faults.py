"""Injects the scheduled faults."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

import httpx

from tests.chaos.history import DeedDone
from tests.chaos.replicas import TOOLS, Replica
from tests.chaos.schedule import ByHand, Fault, LineFault, ProcessFault, ProxyFault
from tests.faults import fault_proxy
from tests.faults.record import Json, Record
from tests.support.own_airflow import OwnAirflow

PERSON_SECONDS = 8.0
"""How long a user tries to change a run while Airflow itself is faulty."""
CLOCKS_SECONDS = 3.0
"""How much earlier than its creation a run may be dated: dagcall knows Airflow's clock to the second."""
RECENT = 12
"""Users change one of this many newest runs."""


class Saboteur:
    """Injects faults.

    Args:
        airflow: the Airflow whose processes it stops and kills.
        replicas: the servers it stops and kills.
        record: Airflow's API as its users see it.
    """

    def __init__(self, airflow: OwnAirflow, replicas: Sequence[Replica], record: Record) -> None:
        self._airflow = airflow
        self._replicas = replicas
        self._record = record
        self._came_at = time.time() - CLOCKS_SECONDS
        self.done: Counter[str] = Counter()
        """Kind of fault -> how often it was injected."""
        self.deeds: list[DeedDone] = []
        self._proxy_faults: list[tuple[str, int, fault_proxy.Fault]] = []

    async def carry_out_all(self, faults: Sequence[Fault]) -> None:
        """Inject all faults, each at its time from now on; return when the last is over."""
        began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as going_on:
            for fault in faults:
                await asyncio.sleep(max(0.0, began + fault.at - asyncio.get_running_loop().time()))
                going_on.create_task(self._carry_out(fault))

    def end_all(self) -> None:
        """End all proxy faults and count the requests they hit."""
        for replica in self._replicas:
            replica.proxy.clear()
        for name, times, fault in self._proxy_faults:
            self.done[f"proxy: {name}"] += times - fault.times
        self._proxy_faults.clear()

    async def _carry_out(self, fault: Fault) -> None:
        match fault:
            case ProxyFault():
                await self._spoil(fault)
            case LineFault():
                await self._cut(fault)
            case ProcessFault():
                await self._stop_or_kill(fault)
            case ByHand():
                await self._by_hand(fault)
            case _:
                assert_never(fault)

    async def _spoil(self, fault: ProxyFault) -> None:
        headers = {"content-type": fault.content_type}
        if fault.retry_after is not None:
            headers["retry-after"] = str(fault.retry_after)
        added = self._replicas[fault.replica].proxy.add(
            fault_proxy.Fault(
                loss=fault.loss,
                method=fault.aim.method,
                path=fault.aim.path,
                skip=fault.skip,
                times=fault.times,
                seconds=fault.seconds,
                status=fault.status,
                headers=headers,
                body=fault.body,
            )
        )
        self._proxy_faults.append((fault.name, fault.times, added))
        if fault.lasts is not None:
            await asyncio.sleep(fault.lasts)
            self._proxy_faults.remove((fault.name, fault.times, added))
            self.done[f"proxy: {fault.name}"] += fault.times - added.times
            added.times = 0

    async def _cut(self, fault: LineFault) -> None:
        proxy = self._replicas[fault.replica].proxy
        if not fault.lasts:
            proxy.cut()
            self.done["proxy: all connections cut"] += 1
        elif proxy.is_listening:
            await proxy.refuse()
            await asyncio.sleep(fault.lasts)
            await proxy.accept()
            self.done["proxy: connections refused"] += 1

    async def _stop_or_kill(self, fault: ProcessFault) -> None:
        """Stop or kill a process, but kill neither a process that is already down nor the last replica."""
        kind, _, number = fault.target.partition(" ")
        if fault.deed == "kill":
            is_replica = kind == "replica"
            if any(r.is_starting for r in self._replicas) if is_replica else not await self._airflow.is_healthy():
                self.done[f"{kind}: not killed, for one was down"] += 1
                return
        self.done[f"{kind}: {'SIGSTOP' if fault.deed == 'stop' else 'SIGKILL'}"] += 1
        if kind == "replica":
            replica = self._replicas[int(number)]
            if fault.deed == "stop":
                await replica.freeze(fault.lasts)
            else:
                await replica.kill_and_start(fault.lasts, fault.clock_off)
        elif fault.deed == "stop":
            rows = self._airflow.freeze(fault.target)
            await asyncio.sleep(fault.lasts)
            self._airflow.thaw(rows)
        else:
            await self._airflow.kill(fault.target)
            await asyncio.sleep(fault.lasts)
            self._airflow.revive(fault.target)

    # Users of Airflow

    async def _by_hand(self, fault: ByHand) -> None:
        try:
            async with asyncio.timeout(PERSON_SECONDS):
                newest = sorted(await self.runs(), key=lambda run: str(run["run_after"]), reverse=True)[:RECENT]
                if fault.deed in {"success", "failed"}:
                    newest = [run for run in newest if run["end_date"] is None]
                if newest:
                    await self.do(newest[fault.which % len(newest)], fault.deed)
                    self.done[f"by hand: {fault.deed}"] += 1
        except (httpx.HTTPError, AssertionError, TimeoutError):
            self.done["by hand: tried in vain"] += 1

    async def runs(self) -> list[Json]:
        """Return the runs created since the saboteur was."""
        runs = [run for tool in TOOLS for run in await self._record.runs(tool)]
        return [run for run in runs if (time_of(run["run_after"]) or 0.0) >= self._came_at]

    async def do(self, run: Json, deed: str) -> None:
        """Change a run; record the attempt first."""
        ended_at = time_of(run["end_date"])
        self.deeds.append(DeedDone(time.time(), deed, run["dag_run_id"], ended_at))
        match deed:
            case "delete":
                await self._record.delete(run)
            case "clear":
                await self._record.clear(run)
            case _:
                await self._record.set_state(run, deed)


def time_of(moment: str | None) -> float | None:
    """Return one of Airflow's timestamps as seconds."""
    return None if moment is None else datetime.fromisoformat(moment).timestamp()
