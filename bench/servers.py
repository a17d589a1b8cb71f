"""The processes that are measured: started on free ports, and stopped together whatever happens."""

import fcntl
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from dagcall.demo.processes import Child, ChildDied, Children, stop_leftovers
from dagcall.demo.stack import until_async

HERE = Path(__file__).parent
HOST = "127.0.0.1"
START_SECONDS = 60.0
NAME_PREFIXES = ("DAGCALL_", "PYTHON", "VIRTUAL_ENV", "AIRFLOW")


@dataclass(frozen=True)
class Server:
    """A process that answers HTTP."""

    child: Child
    port: int

    @property
    def pid(self) -> int:
        """Its process."""
        return self.child.process.pid


@dataclass
class Servers:
    """Starts processes and stops them."""

    work: Path
    children: Children = field(init=False)
    _numbers: Any = field(default_factory=count)

    def __post_init__(self) -> None:
        self.children = Children(self.work / "run", self.work / "logs")

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Servers"]:
        """Stop what an earlier, killed bench left; at the end, stop everything.

        Raises:
            BlockingIOError: another bench runs here.
        """
        for folder in (self.children.run_folder, self.children.log_folder):
            folder.mkdir(parents=True, exist_ok=True)
        with (self.children.run_folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            await stop_leftovers(self.children.run_folder)
            try:
                yield self
            finally:
                await self.children.stop()

    @asynccontextmanager
    async def server(self, name: str, command: Callable[[int], list[str]]) -> AsyncIterator[Server]:
        """Run a command that serves on the port it is given, and answers at /health."""
        port = free_port()
        child = await self.start(name, command(port))
        server = Server(child, port)
        try:
            await _until_it_answers(server)
            yield server
        finally:
            await self.stop(child)

    @asynccontextmanager
    async def dagcall(
        self,
        airflow: Mapping[str, Any],
        *,
        dags: str,
        wait_seconds: float = 600.0,
        program: Sequence[str] = ("-m", "dagcall"),
    ) -> AsyncIterator[Server]:
        """Run `dagcall serve` in front of an Airflow, with its tools known; `program` is what Python runs for it."""
        config = self.write_config(airflow, dags=dags, wait_seconds=wait_seconds)
        words = [sys.executable, *program, "serve", "--config", str(config)]
        async with self.server("dagcall", lambda port: [*words, "--port", str(port)]) as server:
            async with httpx.AsyncClient(trust_env=False) as http:

                async def is_ready() -> bool:
                    return (await http.get(f"http://{HOST}:{server.port}/ready")).is_success

                await until_async(is_ready, "dagcall", START_SECONDS)
            yield server

    def write_config(
        self, airflow: Mapping[str, Any], *, dags: str, wait_seconds: float = 600.0, cache: Path | None = None
    ) -> Path:
        """Write a settings file of dagcall.

        Args:
            airflow: `{"url": …, "username": …, "password": …}`.
            dags: a pattern of dag ids.
            wait_seconds: how long a call waits.
            cache: the folder in which dagcall remembers the dags for its next start; None for it to forget them.
        """
        text = "remember = false\n" if cache is None else f"cache_folder = {json.dumps(str(cache))}\n"
        text += "[airflow]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in airflow.items())
        text += (
            f"max_in_line = 100_000\n[server]\nwait_seconds = {wait_seconds}\n[[tools]]\ndags = {json.dumps(dags)}\n"
            f"[audit]\nfile = {json.dumps(str(self.work / 'audit.jsonl'))}\n"
        )
        path = self.work / f"dagcall-{next(self._numbers)}.toml"
        path.write_text(text)
        return path

    @asynccontextmanager
    async def fake_airflow(self, *, dags: int) -> AsyncIterator[dict[str, Any]]:
        """Run an in-memory Airflow; give what a settings file says of it."""
        words = [sys.executable, str(HERE / "fake_server.py")]
        async with self.server("fake-airflow", lambda port: [*words, str(port), str(dags)]) as server:
            yield {"url": f"http://{HOST}:{server.port}", "username": "admin", "password": "admin"}

    def instant(self, *, dags: int) -> AbstractAsyncContextManager[Server]:
        """Run `dagcall serve` with an Airflow in its own memory that answers a call at once."""
        airflow = {"url": "http://airflow.test", "username": "admin", "password": "admin"}
        return self.dagcall(airflow, dags="double_*", program=[str(HERE / "instant_server.py"), str(dags)])

    @asynccontextmanager
    async def bare(self) -> AsyncIterator[Server]:
        """Run the bare server over HTTP."""
        async with self.server(
            "bare", lambda port: [sys.executable, str(HERE / "bare_server.py"), "http", str(port)]
        ) as s:
            yield s

    async def start(self, name: str, command: list[str]) -> Child:
        """Start a process of our own interpreter."""
        return await self.children.start(name, command, interpreter=Path(sys.executable), environ=environ())

    async def stop(self, child: Child) -> None:
        """Stop one process."""
        await Children(self.children.run_folder, self.children.log_folder, [child]).stop()
        if child in self.children.running:
            self.children.running.remove(child)


async def _until_it_answers(server: Server) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:

        async def answers() -> bool:
            if server.child.ended.done():
                raise ChildDied(server.child.name, server.child.log, server.child.ended.result())
            try:
                await http.get(f"http://{HOST}:{server.port}/health")
            except httpx.TransportError:
                return False
            return True

        await until_async(answers, server.child.name, START_SECONDS)


def environ() -> dict[str, str]:
    """Return the environment of the processes: this one's, without what would reach into them."""
    own = os.environ.items()  # noqa: TID251 - a child process begins with the environment of its parent
    kept = {name: value for name, value in own if not name.startswith(NAME_PREFIXES)}
    return kept | {"PYTHONPATH": str(HERE.parent), "NO_PROXY": HOST, "no_proxy": HOST}


def free_port() -> int:
    """Return a port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
