"""`dagcall demo`: the steps of the start, and the shutdown."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from dagcall.demo.folder import DemoRuns, Folder
from dagcall.demo.installation import AIRFLOW_VERSION, REQUIREMENTS, InstallationError, make_environment
from dagcall.demo.introduction import dagcall_command, dagcall_config, introduction, is_on_path
from dagcall.demo.loopback import HOST, fetch, is_busy
from dagcall.demo.processes import ChildDied, Children, stop_leftovers
from dagcall.demo.progress import Progress, Step
from dagcall.demo.stack import NotReady, Stack, settings, until_async, without_proxy

INSTALL = f"Installation of Airflow {AIRFLOW_VERSION}"
DATABASE = "PostgreSQL"
TABLES = "Airflow's tables"
COMPONENTS = "Airflow"
DAGS = "Example dags"
DAGCALL = "dagcall"
#: A second signal within this many seconds is the same Ctrl-C, forwarded by `uv run` or `make`.
SAME_SIGNAL_SECONDS = 0.5
READY_SECONDS = 60.0
DAGCALL_COMMAND = [sys.executable, "-m", "dagcall"]
LOG_LINES = 8


class CannotStart(Exception):  # a statement, as its siblings in errors.py
    """The demo cannot start; nothing was started."""


def run_demo(*, directory: Path | None, host_port: int, airflow_port: int, console: Console) -> int:
    """Run the demo until it is stopped; return the exit code: 0 after a signal, 1 after a failure.

    Args:
        directory: the demo's folder; None for the one in the user's data folder.
        host_port: the port of `dagcall serve`.
        airflow_port: the port of Airflow's api-server.
        console: a console on standard output.
    """
    environ = dict(os.environ)  # noqa: TID251 # the only place where the demo reads the environment
    folder = Folder((directory or default_folder(environ)).expanduser().resolve())
    demo = Demo(folder, host_port, airflow_port, console, environ)
    try:
        with folder.claimed({"dagcall": demo.url, "Airflow": demo.airflow_url}):
            return asyncio.run(demo.run())
    except (CannotStart, DemoRuns, OSError) as error:
        demo.say(f"dagcall demo: {error}")
        return 1


def default_folder(environ: Mapping[str, str]) -> Path:
    """Return the user's default folder for the demo."""
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "dagcall" / "demo"


@dataclass
class Demo:
    """One run of the demo."""

    folder: Folder
    host_port: int
    airflow_port: int
    console: Console
    environ: Mapping[str, str]
    progress: Progress = field(init=False)
    children: Children = field(init=False)
    stopped_by: signal.Signals | None = None
    is_ready: bool = False
    _asked_at: float = 0.0
    _admin_password: str = ""

    def __post_init__(self) -> None:
        steps = [Step(name) for name in (INSTALL, DATABASE, TABLES, COMPONENTS, DAGS, DAGCALL)]
        self.progress = Progress(self.console, steps)
        self.children = Children(self.folder.run, self.folder.logs)

    @property
    def url(self) -> str:
        """The MCP endpoint."""
        return f"http://{HOST}:{self.host_port}/mcp"

    @property
    def airflow_url(self) -> str:
        """Airflow's URL."""
        return f"http://{HOST}:{self.airflow_port}"

    def say(self, text: str = "") -> None:
        """Print plain text at once; ignore a closed terminal."""
        with contextlib.suppress(OSError):
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)
            self.console.file.flush()

    async def run(self) -> int:
        """Start everything, run until a signal arrives or a child dies, and stop everything."""
        await stop_leftovers(self.folder.run)
        require_free_ports(self.host_port, self.airflow_port)
        work = asyncio.ensure_future(self._start_and_watch())
        with self._signals(work):
            try:
                await work
            except asyncio.CancelledError:
                self.say()
            except (ChildDied, InstallationError, NotReady, OSError) as error:
                self._explain(error)
            await self._stop()
        if self.stopped_by is None:
            return 1
        return 0 if self.is_ready else 128 + self.stopped_by

    async def _start_and_watch(self) -> None:
        watch = asyncio.create_task(self.children.watch())
        start = asyncio.create_task(self._start())
        try:
            with self.progress.shown():
                await self._first_of(start, watch)
            await self._introduce(start.result())
            self.is_ready = True
            await watch
        finally:
            await ended(watch)

    async def _first_of(self, start: asyncio.Task[list[str]], watch: asyncio.Task[None]) -> None:
        """Wait until everything has started.

        Raises:
            ChildDied: a child died first.
        """
        try:
            await asyncio.wait([watch, start], return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                self.progress.fail_running()
                watch.result()
        finally:
            await ended(start)

    async def _start(self) -> list[str]:
        """Start everything.

        Returns:
            The import errors in the user's own dags.
        """
        step = self.progress.step
        with step(INSTALL) as note:
            python = await make_environment(
                f"airflow-{AIRFLOW_VERSION}", REQUIREMENTS, environ=self.environ, report=note
            )
        secrets = self.folder.prepare()
        self._admin_password = secrets.admin_password
        environ = settings(self.folder, secrets, self.airflow_port, self.environ)
        stack = Stack(self.folder, python, self.airflow_port, secrets, self.children, environ)
        with step(DATABASE):
            await stack.start_database()
        with step(TABLES):
            await stack.migrate()
        with step(COMPONENTS) as note:
            since = datetime.now(UTC)  # noqa: TID251 # compared with Airflow's clock, which is this machine's
            await stack.start_airflow()
            await stack.wait_until_healthy(since, note)
        with step(DAGS) as note:
            warnings = await stack.wait_until_parsed(since, note)
        with step(DAGCALL):
            self.folder.config.write_text(dagcall_config(self.airflow_url, self.folder.agent_password_file))
            await self._start_dagcall()
        return warnings

    async def _start_dagcall(self) -> None:
        await self.children.start(
            "dagcall",
            [*DAGCALL_COMMAND, "serve", "--config", str(self.folder.config), "--port", str(self.host_port)],
            interpreter=Path(sys.executable),
            environ=self._own_environ(),
        )

        async def look() -> bool:
            await fetch(self.host_port, "GET", "/ready")
            return True

        await until_async(look, "dagcall", READY_SECONDS)

    def _own_environ(self) -> dict[str, str]:
        """Return the user's environment without settings for another dagcall."""
        own = {name: value for name, value in self.environ.items() if not name.startswith("DAGCALL_")}
        return own | without_proxy(self.environ)

    async def _published_tools(self) -> list[dict[str, Any]]:
        """Return the tools that dagcall publishes."""
        process = await asyncio.create_subprocess_exec(
            *[*DAGCALL_COMMAND, "tools", "--config", str(self.folder.config), "--json"],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=self._own_environ(),
        )
        answer, _ = await process.communicate()
        tools: list[dict[str, Any]] = json.loads(answer)["tools"] if process.returncode == 0 else []
        return tools

    async def _introduce(self, warnings: list[str]) -> None:
        text = introduction(
            url=self.url,
            airflow_url=self.airflow_url,
            admin_password=self._admin_password,
            folder=self.folder,
            tools=await self._published_tools(),
            warnings=warnings,
            dagcall=dagcall_command(),
            is_on_path=is_on_path(self.environ),
        )
        self.say()
        self.say(text)

    def _explain(self, error: Exception) -> None:
        """Print what failed, why, and where the logs are."""
        step = self.progress.failed()
        self.say()
        self.say(f"dagcall demo: {f'{step}: ' if step and not self.is_ready else ''}{error}")
        log = error.log if isinstance(error, ChildDied) else None
        if log:
            self.say(f"Its log is {log}; the last lines:")
            for line in last_lines(log):
                self.say(f"  {line}")
        elif isinstance(error, NotReady):
            self.say(f"The logs are in {self.folder.logs}")

    async def _stop(self) -> None:
        """Stop all children and print how long it took."""
        if not self.children.running:
            return
        began = time.monotonic()
        self.say("stopping ... (Ctrl-C again kills everything at once)")
        await self.children.stop()
        self.say(f"stopped in {time.monotonic() - began:.1f} s")

    @contextlib.contextmanager
    def _signals(self, work: asyncio.Future[None]) -> Iterator[None]:
        """Shut down on the first signal, and kill everything on the second."""
        loop = asyncio.get_running_loop()
        # SIGHUP stays ignored if the parent process ignores it (nohup).
        numbers = [
            number
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
        ]
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal, number, work)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals, work: asyncio.Future[None]) -> None:
        now = time.monotonic()
        if self.stopped_by is None:
            self.stopped_by, self._asked_at = number, now
            work.cancel()
        elif now - self._asked_at > SAME_SIGNAL_SECONDS:
            self.children.kill()
            self.say("killed")
            os._exit(128 + number)


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel `task` unless it is done, and wait for its end, without reading its result."""
    task.cancel()
    await asyncio.wait([task])


def require_free_ports(host_port: int, airflow_port: int) -> None:
    """Check that both ports are free.

    Raises:
        CannotStart: a port is in use; the message names it and its option.
    """
    if host_port == airflow_port:
        raise CannotStart(f"--port and --airflow-port are both {host_port}; choose two different ports")
    options = {"--port": host_port, "--airflow-port": airflow_port}
    busy = [f"port {port} is in use; choose another with {option}" for option, port in options.items() if is_busy(port)]
    if busy:
        raise CannotStart(". And ".join(busy))


def last_lines(log: Path) -> list[str]:
    """Return the last non-empty lines of a log."""
    with contextlib.suppress(OSError):
        return [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-LOG_LINES:]
    return []
