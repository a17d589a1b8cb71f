"""An Airflow with its own dags, packages and settings, whose processes can be stopped and killed.

`dagcall demo` ends when one of its processes ends; this one restarts it, as systemd or Kubernetes would.
"""

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx

from dagcall.demo.folder import Folder
from dagcall.demo.installation import REQUIREMENTS, make_environment
from dagcall.demo.process_table import ProcessRow, family, process_table, send
from dagcall.demo.processes import Child, Children, kill_session
from dagcall.demo.stack import Stack, local_bundle, settings
from tests.support.commands import clean_environ, free_port
from tests.support.plain_http import PLAIN

LOOK_SECONDS = 0.25
ANSWER_SECONDS = 5.0


class OwnAirflow:
    """Airflow with its database; made by `own_airflow`.

    Args:
        stack: its processes.
        set_up: name -> a Python program that runs between the migration of the database and the start.
        more: additional parts: name -> the words of Airflow's command line.
    """

    def __init__(self, stack: Stack, set_up: Mapping[str, str], more: Mapping[str, Sequence[str]]) -> None:
        self._stack = stack
        self._set_up = set_up
        self._more = more
        self._down: set[str] = set()
        """Parts that must not be restarted yet."""
        self._one_at_a_time = asyncio.Lock()
        self.restarts = dict.fromkeys(self._starts, 0)
        """Part -> how often it ended by itself."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._stack.port}{self._stack.path}"

    @property
    def folder(self) -> Folder:
        return self._stack.folder

    @property
    def admin_password(self) -> str:
        return self._stack.secrets.admin_password

    @property
    def _starts(self) -> dict[str, Callable[[], Awaitable[None]]]:
        start = self._stack.start_component
        return {
            "postgres": self._stack.start_database,
            "api-server": lambda: start("api-server", stop_turn=2, stop_seconds=1),
            "scheduler": lambda: start("scheduler", "--skip-serve-logs", stop_turn=1),
            "dag-processor": lambda: start("dag-processor", stop_turn=1),
            "triggerer": lambda: start("triggerer", "--skip-serve-logs", stop_turn=1),
            **{name: partial(self._start_more, name) for name in self._more},
        }

    async def start(self) -> None:
        """Start everything; return when it is healthy."""
        await self._starts["postgres"]()
        await self._stack.migrate()
        for name, program in self._set_up.items():
            await self.run(name, ["-c", program])
        await self._stack.start_airflow()
        for name in self._more:
            await self._start_more(name)
        await self.until_healthy()

    async def run(self, name: str, words: Sequence[str]) -> None:
        """Run Airflow's Python with these arguments, in Airflow's environment, until it ends."""
        python = self._stack.python
        command = [str(python), *words]
        await self._stack.children.run(name, command, interpreter=python, environ=self._stack.environ)

    async def until_healthy(self) -> None:
        """Wait until the api-server answers and the other components have sent a new heartbeat."""
        now = datetime.now(UTC)  # noqa: TID251 - compared with Airflow's clock, which is this machine's
        await self._stack.wait_until_healthy(now, lambda _: None)

    async def is_healthy(self) -> bool:
        """Return whether it answers and its database and scheduler are healthy."""
        try:
            async with httpx.AsyncClient(
                base_url=self.url, trust_env=False, verify=PLAIN, timeout=ANSWER_SECONDS
            ) as http:
                health = (await http.get("/api/v2/monitor/health")).raise_for_status().json()
        except (httpx.HTTPError, ValueError):
            return False
        return bool(health["metadatabase"]["status"] == health["scheduler"]["status"] == "healthy")

    async def stop(self) -> None:
        """Stop everything."""
        await self._stack.children.stop()

    async def kill(self, part: str) -> None:
        """Kill a part; it stays down until `revive`."""
        self._down.add(part)
        async with self._one_at_a_time:
            if (child := self._child(part)) is not None:
                await self._remove(child)

    def revive(self, part: str) -> None:
        """Let a killed part be restarted."""
        self._down.discard(part)

    def freeze(self, part: str) -> list[ProcessRow]:
        """Stop the processes of a part; return them for `thaw`."""
        child = self._child(part)
        rows = family(process_table(), child.process.pid) if child else []
        send(rows, signal.SIGSTOP)
        return rows

    def thaw(self, rows: list[ProcessRow]) -> None:
        """Continue stopped processes."""
        send(rows, signal.SIGCONT)

    async def keep_alive(self) -> None:
        """Restart every part that has ended, forever."""
        while True:
            for part, start in self._starts.items():
                async with self._one_at_a_time:
                    child = self._child(part)
                    if part in self._down or (child and not child.ended.done()):
                        continue
                    if child:
                        self.restarts[part] += 1
                        await self._remove(child)
                    await start()
            await asyncio.sleep(LOOK_SECONDS)

    async def _start_more(self, name: str) -> None:
        """Start one of the additional parts."""
        python = self._stack.python
        command = [str(python), "-m", "airflow", *self._more[name]]
        await self._stack.children.start(
            f"airflow-{name}", command, interpreter=python, environ=self._stack.environ, stop_turn=1
        )

    def _child(self, part: str) -> Child | None:
        name = part if part == "postgres" else f"airflow-{part}"
        return next((child for child in self._stack.children.running if child.name == name), None)

    async def _remove(self, child: Child) -> None:
        pid = child.process.pid
        await kill_session(pid, family(process_table(), pid))
        await child.ended
        self._stack.children.running.remove(child)
        child.pid_file.unlink(missing_ok=True)


@asynccontextmanager
async def own_airflow(
    base: Path,
    dags: Path,
    tell: Callable[[str], None],
    *,
    requirements: Path = REQUIREMENTS,
    own_settings: Mapping[str, str] | None = None,
    set_up: Mapping[str, str] | None = None,
    path: str = "",
    more: Mapping[str, Sequence[str]] | None = None,
) -> AsyncIterator[OwnAirflow]:
    """Run an Airflow with only the dags of a suite.

    Args:
        base: an empty folder.
        dags: the folder of the dags.
        tell: called with each progress message.
        requirements: Airflow's packages, with hashes.
        own_settings: Airflow's settings, without `AIRFLOW__`, over those of the demo.
        set_up: name -> a Python program that runs before the start.
        path: the path of its address, such as `/airflow`.
        more: additional parts: name -> the words of Airflow's command line, such as `("celery", "worker")`.
    """
    environ = clean_environ()
    tell("starting a real Airflow, installed if it is missing")
    python = await make_environment(requirements.stem, requirements, environ=environ)
    folder = Folder(base)
    secrets = folder.prepare()
    shutil.copytree(dags, folder.dags, dirs_exist_ok=True)
    port = free_port()
    own = {
        "DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([local_bundle("own", folder.dags)]),
        "API__BASE_URL": f"http://127.0.0.1:{port}{path}",
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}{path}/execution/",
        # Each turn of an idle scheduler takes 12 ms of CPU, and these suites mostly wait for something else.
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
    }
    own |= own_settings or {}
    variables = settings(folder, secrets, port, environ) | {f"AIRFLOW__{name}": value for name, value in own.items()}
    children = Children(folder.run, folder.logs)
    airflow = OwnAirflow(Stack(folder, python, port, secrets, children, variables, path), set_up or {}, more or {})
    keeping_alive: asyncio.Task[None] | None = None
    try:
        await airflow.start()
        keeping_alive = asyncio.create_task(airflow.keep_alive())
        tell("Airflow is ready")
        yield airflow
    finally:
        if keeping_alive is not None:
            keeping_alive.cancel()
            await asyncio.gather(keeping_alive, return_exceptions=True)
        await airflow.stop()
