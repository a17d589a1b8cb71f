"""Two `dagcall serve` with one secret, each with its own clock and a faulty proxy in front of Airflow."""

import asyncio
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path

from tests.chaos.schedule import REPLICAS
from tests.faults.fault_proxy import FaultProxy, fault_proxy
from tests.support.commands import DAGCALL, clean_environ
from tests.support.own_airflow import OwnAirflow
from tests.support.serving_process import HttpServer, http_server

OFF_CLOCK = [sys.executable, "-P", str(Path(__file__).with_name("off_clock.py"))]
TOOLS = ("quick", "slow", "approved", "failing")


class Replica:
    """One server, which is killed and restarted.

    Args:
        number: its number.
        proxy: the proxy between it and Airflow.
        environ: its environment.
        logs: the folder for the stderr of its processes.
    """

    def __init__(self, number: int, proxy: FaultProxy, environ: dict[str, str], logs: Path) -> None:
        self.number = number
        self.proxy = proxy
        self.incidents: list[str] = []
        """Its failures: tracebacks, unexpected exits."""
        self.stalls: list[tuple[str, float, float]] = []
        """Which of its processes was stopped, from when until when."""
        self.starts = 0
        self._environ = environ
        self._logs = logs
        self._running = ExitStack()
        self._server: HttpServer | None = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def name(self) -> str:
        return f"replica {self.number}.{self.starts}"

    @property
    def is_starting(self) -> bool:
        """Whether it was killed and does not answer yet."""
        return self._one_at_a_time.locked()

    @property
    def url(self) -> str:
        """Its URL, or its last one while it is down."""
        assert self._server is not None
        return self._server.url

    async def start(self, clock_off: float) -> None:
        """Start it with a clock that is `clock_off` seconds wrong."""
        command = [*OFF_CLOCK, str(clock_off)] if clock_off else DAGCALL
        self._server = await asyncio.to_thread(self._running.enter_context, http_server(self._environ, command))
        self.starts += 1

    async def kill_and_start(self, seconds: float, clock_off: float) -> None:
        """Kill it and restart it after `seconds`."""
        async with self._one_at_a_time:
            await self._end(signal.SIGKILL)
            await asyncio.sleep(seconds)
            await self.start(clock_off)

    async def freeze(self, seconds: float) -> None:
        """Stop its process for `seconds`."""
        assert self._server is not None
        process, name, began = self._server.process, self.name, time.time()
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self.stalls.append((name, began, time.time()))
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        """Shut it down."""
        async with self._one_at_a_time:
            code = await self._end(signal.SIGTERM)
            if code:
                self.incidents.append(f"{self.name} was asked to stop, and ended with exit code {code}")

    async def _end(self, number: signal.Signals) -> int:
        assert self._server is not None
        if (ended := self._server.process.poll()) is not None:
            self.incidents.append(f"{self.name} had ended by itself, with exit code {ended}")
        code, errors = await asyncio.to_thread(self._server.stop, number)
        await asyncio.to_thread(self._running.close)
        (self._logs / f"{self.name.replace(' ', '-')}.log").write_text(errors)
        if "Traceback" in errors:
            self.incidents.append(f"{self.name} wrote a traceback:\n{errors}")
        return code


@asynccontextmanager
async def replicas(airflow: OwnAirflow, clocks_off: tuple[float, ...]) -> AsyncIterator[list[Replica]]:
    """Run all replicas; at the end, kill those that were not stopped."""
    secret = secrets.token_hex(32)
    async with AsyncExitStack() as stack:
        found: list[Replica] = []
        for number, clock_off in zip(range(REPLICAS), clocks_off, strict=True):
            proxy = await stack.enter_async_context(fault_proxy(airflow.url))
            config = airflow.folder.path / f"replica-{number}.toml"
            tools = "".join(f'\n[[tools]]\ndag = "{tool}"\n' for tool in TOOLS)
            password_file = airflow.folder.agent_password_file
            config.write_text(
                f'[airflow]\nurl = "{proxy.url}"\nusername = "agent"\npassword_file = "{password_file}"\n{tools}'
            )
            environ = clean_environ(
                DAGCALL_CONFIG=str(config),
                DAGCALL_SERVER_SECRET=secret,
                DAGCALL_REMEMBER=str(number == 0),  # the others have no tools until they have read Airflow
                DAGCALL_CACHE_FOLDER=str(airflow.folder.path / "cache"),
            )
            found.append(Replica(number, proxy, environ, airflow.folder.logs))
            stack.callback(found[-1]._running.close)  # noqa: SLF001 - this function creates them
            await found[-1].start(clock_off)
        yield found
