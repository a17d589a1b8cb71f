"""PostgreSQL and the four components of Airflow: settings, start, readiness.

Everything is configured with environment variables; no `airflow.cfg` is used.
"""

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dagcall.demo.folder import Folder, Secrets
from dagcall.demo.installation import AIRFLOW_VERSION
from dagcall.demo.loopback import HOST, NotYet, fetch
from dagcall.demo.processes import STOP_SECONDS, Children

DAGS = Path(__file__).parent / "dags"
#: `sun_path` has 104 bytes on macOS, 108 on Linux, including the terminating zero; the socket's name needs 15.
MAX_SOCKET_FOLDER = 104 - 1 - len("/.s.PGSQL.5432")
#: Seconds between two checks of a starting component.
LOOK_INTERVAL = 0.2
#: Seconds that a start may take on a slow machine.
START_SECONDS = 240.0
#: Matches dag files, but not the modules beside them.
DAG_DEFINITION = re.compile(r"^@dag\b|\bDAG\(", re.MULTILINE)
NOISY = ("airflow.jobs", "airflow.executors", "airflow.dag_processing", "alembic", "httpx", "uvicorn")
"""Loggers whose INFO messages are suppressed; not all of `airflow`, because operators log there as well."""
#: Variables of the user that would affect Airflow, its Python, or PostgreSQL's client library.
FOREIGN = re.compile(r"_?AIRFLOW|PYTHON|VIRTUAL_ENV|PG[A-Z]+$|OTEL_|DAGCALL_|__PYVENV")


class NotReady(Exception):  # a statement, as its siblings in errors.py
    """A component did not become ready."""


@dataclass(frozen=True)
class Stack:
    """The Airflow and the database of one demo."""

    folder: Folder
    python: Path
    """Airflow's interpreter."""
    port: int
    secrets: Secrets
    children: Children
    environ: Mapping[str, str]
    """The environment of all its processes."""
    path: str = ""
    """The path of `[api] base_url`; all but Airflow's main API answers only below it."""

    async def start_database(self) -> None:
        """Start PostgreSQL; return when it accepts connections."""
        data, sockets = self.folder.postgres / "data", socket_folder(self.folder.postgres)
        sockets.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() not in (0, sockets.lstat().st_uid):
            raise NotReady(f"{sockets} belongs to another user; choose another folder with --dir")
        child = await self.children.start(
            "postgres",
            ["postgres", str(data), str(sockets)],
            interpreter=self.python,
            environ=self.environ,
            stop_signal=signal.SIGINT,  # "fast" shutdown: closes open sessions, writes all data
            stop_turn=3,
        )
        await until(lambda: database_is_ready(data, child.process.pid), "PostgreSQL", START_SECONDS)

    async def migrate(self) -> None:
        """Create or migrate Airflow's tables; skipped if this version has done so before."""
        stamp = self.folder.postgres / f"airflow-{AIRFLOW_VERSION}-tables"
        if not stamp.exists():
            command = [str(self.python), "-m", "airflow", "db", "migrate"]
            await self.children.run("airflow-db-migrate", command, interpreter=self.python, environ=self.environ)
            stamp.touch()

    async def start_component(
        self, name: str, *arguments: str, stop_turn: int, stop_seconds: float = STOP_SECONDS
    ) -> None:
        """Start one component, such as `scheduler`."""
        command = [str(self.python), "-m", "airflow", name, *arguments]
        await self.children.start(
            f"airflow-{name}",
            command,
            interpreter=self.python,
            environ=self.environ,
            stop_turn=stop_turn,
            stop_seconds=stop_seconds,
        )

    async def start_airflow(self) -> None:
        """Start the four components; return at once."""
        # Without log servers, because the api-server reads the files, and two fewer ports are needed.
        # The api-server has no state, and would wait for browsers that keep their connections open.
        await self.start_component("api-server", stop_turn=2, stop_seconds=1)
        await self.start_component("scheduler", "--skip-serve-logs", stop_turn=1)
        await self.start_component("dag-processor", stop_turn=1)
        await self.start_component("triggerer", "--skip-serve-logs", stop_turn=1)

    async def wait_until_healthy(self, since: datetime, note: Callable[[str], None]) -> None:
        """Wait until the api-server answers and the three others have sent a heartbeat after `since`."""

        async def warm_up() -> bool:
            await fetch(self.port, "GET", f"{self.path}/execution/health/ping")
            return True

        async def look() -> bool:
            health = await fetch(self.port, "GET", f"{self.path}/api/v2/monitor/health")
            missing = components_not_healthy(health, since)
            note(f"waiting for the {', the '.join(missing)}" if missing else "")
            return not missing

        note("waiting for the api-server")
        # The api-server builds its task API on the first request, which takes two to five seconds. This request keeps
        # the delay out of the first tool call.
        await until_async(warm_up, "the api-server", START_SECONDS)
        await until_async(look, "Airflow", START_SECONDS)

    async def wait_until_parsed(self, since: datetime, note: Callable[[str], None]) -> list[str]:
        """Wait until all dags of the demo have been parsed after `since`.

        Returns:
            The import errors in the user's own dags, each as `<file>: <last line>`.

        Raises:
            NotReady: a dag of the demo cannot be imported, or parsing takes too long.
        """
        user = {"username": "admin", "password": self.secrets.admin_password}
        files = dag_files(DAGS)
        errors: list[dict[str, Any]] = []

        async def look() -> bool:
            nonlocal errors
            token = (await fetch(self.port, "POST", f"{self.path}/auth/token", body=user))["access_token"]
            errors = (await fetch(self.port, "GET", f"{self.path}/api/v2/importErrors", token=token))["import_errors"]
            ours = [error_line(error) for error in errors if error["bundle_name"] == "demo"]
            if ours:
                raise NotReady(f"a dag of the demo cannot be imported: {ours[0]}")
            dags = (await fetch(self.port, "GET", f"{self.path}/api/v2/dags?limit=100", token=token))["dags"]
            missing = files - parsed_files(dags, since)
            note(f"waiting for {', '.join(sorted(missing))}" if missing else "")
            return not missing

        await until_async(look, "the demo's dags", START_SECONDS)
        return [error_line(error) for error in errors]


def settings(folder: Folder, secrets: Secrets, port: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of all of Airflow's processes.

    Args:
        folder: the demo's folder.
        secrets: the demo's passwords and keys.
        port: the port of the api-server.
        environ: the user's environment; variables that affect Airflow are removed.
    """
    database = f"postgresql+psycopg2://postgres@/airflow?host={quote(str(socket_folder(folder.postgres)), safe='')}"
    bundles = [local_bundle("demo", DAGS), local_bundle("own", folder.dags)]
    airflow = {
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "16",
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "1",
        "CORE__FERNET_KEY": secrets.fernet_key,
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,agent:user",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder.passwords_file),
        # By default Airflow derives it from base_url, not from the port.
        "CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        "DATABASE__SQL_ALCHEMY_CONN": database,
        # With the defaults, 5 and 10, a dozen tasks and a few callers block the api-server for a minute.
        "DATABASE__SQL_ALCHEMY_POOL_SIZE": "20",
        "DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "20",
        "API__HOST": HOST,
        "API__PORT": str(port),
        "API__BASE_URL": f"http://{HOST}:{port}",
        "API__WORKERS": "1",
        "API__SECRET_KEY": secrets.api_secret_key,
        "API_AUTH__JWT_SECRET": secrets.jwt_secret,
        "DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        # A changed file is parsed at once, so this only delays changes of the modules that it imports. Parsing all of
        # them every five seconds would take half a core, and every 30 seconds as much as the idle database.
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "120",
        "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
        "DAG_PROCESSOR__PRINT_STATS_INTERVAL": "0",
        "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "50",
        # A one-task dag ends within half a second of its trigger instead of two to three. With 0.1, it would end 0.08 s
        # sooner, but the idle scheduler and database would take a seventh of a core instead of a twelfth.
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        # The next demo notices the lost tasks of a killed one.
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        # A run that is set to failed stops its task within a second.
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "LOGGING__LOGGING_LEVEL": "INFO",  # so that a task's output is in its log
        "LOGGING__NAMESPACE_LEVELS": " ".join(f"{name}=WARNING" for name in NOISY),
        "LOGGING__COLORED_CONSOLE_LOG": "False",
        "LOGGING__BASE_LOG_FOLDER": str(folder.logs / "tasks"),
        "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(folder.logs / "dags"),
    }
    return (
        {name: value for name, value in environ.items() if not FOREIGN.match(name)}
        | {f"AIRFLOW__{name}": value for name, value in airflow.items()}
        | {
            "AIRFLOW_HOME": str(folder.airflow_home),
            "AIRFLOW_CONN_SHOP": shop_connection(folder),
            "PYTHONDONTWRITEBYTECODE": "1",  # compiled at installation; the dags' folder may not be writable
            "PYTHONUNBUFFERED": "1",
        }
        | without_proxy(environ)
        | platform_settings()
    )


def without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that exclude requests to this machine from the user's proxy."""
    local = ",".join(filter(None, [environ.get("NO_PROXY") or environ.get("no_proxy"), HOST, "localhost"]))
    return {"NO_PROXY": local, "no_proxy": local}


def platform_settings() -> dict[str, str]:
    """Return the variables that Airflow's forks need on this platform."""
    if sys.platform == "darwin":
        return {"OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES"}
    return {"AIRFLOW__CORE__MP_START_METHOD": "fork"}  # not the default since Python 3.14


def local_bundle(name: str, path: Path) -> dict[str, Any]:
    """Return one entry of `dag_bundle_config_list`."""
    classpath = "airflow.dag_processing.bundles.local.LocalDagBundle"
    return {"name": name, "classpath": classpath, "kwargs": {"path": str(path), "refresh_interval": 5}}


def shop_connection(folder: Folder) -> str:
    """Return the Airflow connection of the example shop's database."""
    return f"postgresql://postgres@/shop?host={quote(str(socket_folder(folder.postgres)), safe='')}"


def socket_folder(postgres: Path) -> Path:
    """Return the folder of the database's Unix socket: a shorter one if the demo's path is too long."""
    own = postgres / "socket"
    if len(bytes(own)) <= MAX_SOCKET_FOLDER:
        return own
    return Path(tempfile.gettempdir()) / f"dagcall-{sha256(bytes(own)).hexdigest()[:12]}"


def database_is_ready(data: Path, pid: int) -> bool:
    """Return whether the server `pid` accepts connections, from the last line of its `postmaster.pid`."""
    try:
        lines = (data / "postmaster.pid").read_text().split()
    except OSError:
        return False
    return bool(lines) and lines[0] == str(pid) and lines[-1] == "ready"


def components_not_healthy(health: Mapping[str, Any], since: datetime) -> list[str]:
    """Return the components that have not sent a heartbeat after `since`.

    Args:
        health: `{"scheduler": {"status": "healthy", "latest_scheduler_heartbeat": "2026-…"}, …}`. The heartbeats of
            an earlier start stay "healthy" for 30 seconds, so only the time counts.
        since: when the components were started, with a time zone.
    """
    return [
        name.replace("_", "-")
        for name in ("scheduler", "dag_processor", "triggerer")
        if health[name]["status"] != "healthy" or not is_after(health[name][f"latest_{name}_heartbeat"], since)
    ]


def is_after(moment: str | None, since: datetime) -> bool:
    """Return whether an ISO 8601 time is later than `since`."""
    return moment is not None and datetime.fromisoformat(moment) > since


def dag_files(folder: Path) -> set[str]:
    """Return the names of the files in `folder` that define dags."""
    return {path.name for path in folder.glob("*.py") if DAG_DEFINITION.search(path.read_text())}


def parsed_files(dags: list[dict[str, Any]], since: datetime) -> set[str]:
    """Return the demo's files whose dags were parsed after `since`, from the answer of `GET /api/v2/dags`."""
    return {
        dag["relative_fileloc"]
        for dag in dags
        if dag["bundle_name"] == "demo" and is_after(dag["last_parsed_time"], since)
    }


def error_line(error: Mapping[str, Any]) -> str:
    """Return an import error as one line."""
    return f"{error['filename']}: {error['stack_trace'].strip().splitlines()[-1]}"


async def until(is_true: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until `is_true` returns True.

    Raises:
        NotReady: `what` was not ready after `seconds`.
    """

    async def look() -> bool:
        return is_true()

    await until_async(look, what, seconds)


async def until_async(look: Callable[[], Any], what: str, seconds: float) -> None:
    """Wait until `look` returns True; a server that does not answer yet counts as False.

    Raises:
        NotReady: `what` was not ready after `seconds`.
    """
    reason = "it does not answer"
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    if await look():
                        return
                except NotYet as error:
                    reason = str(error)
                await asyncio.sleep(LOOK_INTERVAL)
    except TimeoutError:
        raise NotReady(f"{what} was not ready after {seconds:.0f} s ({reason})") from None
