"""A real Airflow as it comes: the demo's, without the settings with which the demo makes it quick.

What stays of the demo's settings: PostgreSQL, LocalExecutor, one worker of the api-server, and log-ins.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bench.servers import HOST, free_port
from dagcall.demo.folder import Folder
from dagcall.demo.installation import AIRFLOW_VERSION, REQUIREMENTS, make_environment
from dagcall.demo.processes import Children, stop_leftovers
from dagcall.demo.stack import START_SECONDS, Stack, settings, until_async

TUNED = {
    "AIRFLOW__CORE__PARALLELISM",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL",
}
DAGS = Path(__file__).parent / "dags"
PAGE = 100
LOOK_SECONDS = 0.5
SETTLE_SECONDS = 90.0
UNFINISHED = ("queued", "running")


@dataclass(frozen=True)
class StockAirflow:
    """A running Airflow, and its administrator."""

    stack: Stack
    http: httpx.AsyncClient
    """Logged in as an administrator; relative to /api/v2/."""

    @property
    def port(self) -> int:
        """Of the api-server."""
        return self.stack.port

    @property
    def api_server_pid(self) -> int:
        """The process of the api-server."""
        (child,) = (child for child in self.stack.children.running if child.name == "airflow-api-server")
        return child.process.pid

    @property
    def dags(self) -> Path:
        """A folder whose dag files are read within seconds."""
        return self.stack.folder.dags

    def account(self, url: str) -> dict[str, Any]:
        """Return what a settings file of dagcall says, if this Airflow is reached at `url`."""
        return {"url": url, "username": "agent", "password": self.stack.secrets.agent_password}

    async def ask(self, path: str, **query: Any) -> dict[str, Any]:
        """Return what Airflow answers to a GET."""
        answer: dict[str, Any] = (await self.http.get(path, params=query)).raise_for_status().json()
        return answer

    async def runs_since(self, dag_id: str, since: datetime) -> list[dict[str, Any]]:
        """Return the runs of a dag that were triggered after `since`."""
        found: list[dict[str, Any]] = []
        while True:
            page = await self.ask(
                f"dags/{dag_id}/dagRuns",
                run_after_gte=since.isoformat(),
                order_by="run_after",
                limit=PAGE,
                offset=len(found),
            )
            found += page["dag_runs"]
            if len(page["dag_runs"]) < PAGE:
                return found

    async def count_runs(self, dag_id: str, since: datetime) -> int:
        """Return how many runs of a dag were triggered after `since`."""
        page = await self.ask(f"dags/{dag_id}/dagRuns", run_after_gte=since.isoformat(), limit=1)
        return int(page["total_entries"])

    async def settled_runs(self, dag_id: str, since: datetime) -> list[dict[str, Any]]:
        """Return the runs of a dag once all have ended, or as they are after a while; Airflow may be in trouble."""
        runs: list[dict[str, Any]] = []
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                while True:
                    try:
                        runs = await self.runs_since(dag_id, since)
                        if not any(run["state"] in UNFINISHED for run in runs):
                            return runs
                    except httpx.HTTPError:
                        pass
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            return runs

    async def wait_for_dags(self, tag: str, number: int, *, seconds: float) -> None:
        """Wait until so many dags with this tag are known.

        Raises:
            NotReady: they were not after so many seconds.
        """

        async def are_known() -> bool:
            return int((await self.ask("dags", tags=tag, limit=1))["total_entries"]) >= number

        await until_async(are_known, f"the dags with tag {tag}", seconds)


def now() -> datetime:
    """Return the time, by this machine's clock, which is Airflow's too."""
    return datetime.now(UTC)  # noqa: TID251 - compared with what Airflow notes


@asynccontextmanager
async def stock_airflow(work: Path, say: Callable[[str], None]) -> AsyncIterator[StockAirflow]:
    """Start a fresh Airflow in `work`; stop it at the end."""
    folder = Folder(work / "airflow")
    await stop_leftovers(folder.run)
    shutil.rmtree(folder.path, ignore_errors=True)
    environ = dict(os.environ)  # noqa: TID251 - a child process begins with the environment of its parent
    say(f"Airflow {AIRFLOW_VERSION}: installing it, unless it is there")
    python = await make_environment(f"airflow-{AIRFLOW_VERSION}", REQUIREMENTS, environ=environ)
    secrets, port = folder.prepare(), free_port()
    shutil.copy(DAGS / "bench.py", folder.dags)
    stock = {key: value for key, value in settings(folder, secrets, port, environ).items() if key not in TUNED}
    children = Children(folder.run, folder.logs)
    stack = Stack(folder, python, port, secrets, children, stock)
    try:
        say("Airflow: making its database")
        await stack.start_database()
        await stack.migrate()
        say("Airflow: starting it")
        since = now()
        await stack.start_airflow()
        await stack.wait_until_healthy(since, lambda _note: None)
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}/api/v2/", timeout=60, trust_env=False) as http:
            user = {"username": "admin", "password": secrets.admin_password}
            answer = (await http.post(f"http://{HOST}:{port}/auth/token", json=user)).raise_for_status()
            http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            airflow = StockAirflow(stack, http)
            await airflow.wait_for_dags("bench", 2, seconds=START_SECONDS)
            yield airflow
    finally:
        await children.stop()
