"""A real Airflow: its REST API in a child process, on SQLite, without a scheduler unless a test requests one.

Without a scheduler no task runs, so tests write into the database what a scheduler and workers would write: states of
runs and tasks, XComs, log files. If there is a REST endpoint, the tests use it.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from dagcall.demo.installation import REQUIREMENTS, make_environment
from dagcall.demo.processes import CHILD
from tests.fake_airflow import FakeQuestion, Version
from tests.fake_airflow.dags import as_params
from tests.support.commands import free_port
from tests.support.plain_http import PLAIN

DAGS = Path(__file__).parent / "dags"
JWT_SECRET = "0123456789abcdef" * 4
START_SECONDS = 120
"""It takes three to eight seconds on an idle machine."""
STOP_SECONDS = 20
PARSED = "parsed: 0\n"
PARSE_AT_EACH_LINE = """
import os
import sys

import airflow.cli.commands.dag_command
from airflow.__main__ import main

told = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for _ in sys.stdin:
    if (child := os.fork()) == 0:
        sys.argv = ["airflow", "dags", "reserialize"]
        main()
        os._exit(0)
    print("parsed:", os.waitpid(child, 0)[1], file=told, flush=True)
"""
"""Parses a folder more than once: `airflow dags reserialize` spends most of its time with imports."""


def requirements_of(version: Version) -> Path:
    """Return the pinned requirements of an Airflow version; the newest version uses the demo's."""
    if REQUIREMENTS.name == f"airflow-{version}.txt":
        return REQUIREMENTS
    return Path(__file__).parent / "requirements" / f"airflow-{version}.txt"


@dataclass(frozen=True)
class RealAirflow:
    """A running api-server with direct access to its database."""

    version: Version
    url: str
    home: Path
    python: Path
    transport: None = None

    def token(self, user: str = "admin", *, seconds: float = 3600) -> str:
        """Return a token like the server's that expires in `seconds`; with a negative number it has expired."""
        now = int(time.time())
        claims = {
            "sub": user,
            "role": user,
            "teams": [],
            "jti": uuid.uuid4().hex,
            "aud": "apache-airflow",
            "nbf": now - 7200,
            "iat": now - 7200,
            "exp": int(now + seconds),
        }
        header = {"alg": "HS512", "kid": "not-used", "typ": "JWT"}
        head = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        return f"{head}.{_base64url(hmac.new(JWT_SECRET.encode(), head.encode(), hashlib.sha512).digest())}"

    def start(self, dag_id: str, run_id: str) -> None:
        """Start a run as a scheduler does: the run is running, but its tasks are not."""
        self._execute(
            "UPDATE dag_run SET state = 'running', start_date = ? WHERE dag_id = ? AND run_id = ?",
            (_now(), dag_id, run_id),
        )

    def finish(self, dag_id: str, run_id: str, state: str) -> None:
        """End a run as a user does."""
        path = f"{self.url}/api/v2/dags/{dag_id}/dagRuns/{run_id}"
        headers = {"Authorization": f"Bearer {self.token()}"}
        httpx.patch(
            path, json={"state": state}, headers=headers, trust_env=False, verify=PLAIN, timeout=120
        ).raise_for_status()

    def set_task(
        self, dag_id: str, run_id: str, task_id: str, state: str, *, log: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Set the state of an unmapped task after its first try, and write the log of this try."""
        self._execute(
            "UPDATE task_instance SET state = ?, try_number = 1, start_date = ?, end_date = ?, duration = 0 "
            "WHERE dag_id = ? AND run_id = ? AND task_id = ?",
            (state, _now(), None if state == "running" else _now(), dag_id, run_id, task_id),
        )
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "attempt=1.log").write_text("".join(json.dumps(event) + "\n" for event in log))

    def set_xcom(
        self, dag_id: str, run_id: str, task_id: str, value: Any, *, map_index: int = -1, is_result: bool = False
    ) -> None:
        """Store a return value as a worker does. `POST …/xcomEntries` differs: 3.1 encodes the value twice."""
        result_column, result_value = (", dag_result", (is_result,)) if self.version >= "3.3" else ("", ())
        marks = ", ".join("?" * (6 + len(result_value)))
        self._execute(
            "INSERT INTO xcom (dag_id, run_id, task_id, map_index, value, timestamp"  # noqa: S608 - no outside input
            f"{result_column}, \"key\", dag_run_id) SELECT {marks}, 'return_value', id FROM dag_run "
            "WHERE dag_id = ? AND run_id = ?",
            (dag_id, run_id, task_id, map_index, json.dumps(value), _now(), *result_value, dag_id, run_id),
        )

    def skip_for_nothing_to_map(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Skip a task as the scheduler does if it is mapped over an empty list: without dates."""
        self._execute(
            "UPDATE task_instance SET state = 'skipped', start_date = NULL, end_date = NULL "
            "WHERE dag_id = ? AND run_id = ? AND task_id = ?",
            (dag_id, run_id, task_id),
        )

    def ask(self, dag_id: str, run_id: str, task_id: str, question: FakeQuestion, *, map_index: int = -1) -> None:
        """Ask a question as a worker does when `HITLOperator` begins to wait."""
        where = (dag_id, run_id, task_id, map_index)
        params = {
            name: {"value": param.default, "description": param.description, "schema": param.schema}
            for name, param in as_params(question.params).items()
        }
        self._execute(
            "INSERT INTO hitl_detail (ti_id, options, subject, body, defaults, multiple, params, assignees, "
            "created_at, params_input) SELECT id, ?, ?, ?, ?, ?, ?, ?, ?, '{}' FROM task_instance "
            "WHERE dag_id = ? AND run_id = ? AND task_id = ? AND map_index = ?",
            (
                json.dumps(list(question.options)),
                question.subject,
                question.body,
                json.dumps(question.defaults),
                question.multiple,
                json.dumps(params),
                json.dumps([{"id": name, "name": name} for name in question.assigned_users]),
                _now(),
                *where,
            ),
        )
        self._execute(
            "UPDATE task_instance SET state = ?, try_number = 1, start_date = ? "
            "WHERE dag_id = ? AND run_id = ? AND task_id = ? AND map_index = ?",
            ("awaiting_input" if self.version >= "3.3" else "deferred", _now(), *where),
        )

    def delete(self, dag_id: str, run_id: str) -> None:
        """Delete a run in any state."""
        for table in ("xcom", "task_instance", "dag_run"):
            self._execute(f"DELETE FROM {table} WHERE dag_id = ? AND run_id = ?", (dag_id, run_id))  # noqa: S608

    def _execute(self, statement: str, parameters: Sequence[Any]) -> None:
        with contextlib.closing(sqlite3.connect(self.home / "airflow.db", timeout=30)) as database, database:
            database.execute(statement, parameters)


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def real_airflow(
    version: Version,
    *,
    cache: Path,
    home: Path,
    tell: Callable[[str], None],
    all_admins: bool = False,
    dags: Path = DAGS,
    services: Sequence[str] = (),
    auth_manager: str | None = None,
) -> Iterator[RealAirflow]:
    """Run an Airflow of one version in `home`.

    Args:
        version: a version with committed requirements.
        cache: keeps the database with the parsed dags between test sessions.
        home: an empty folder.
        tell: called with a message before a slow step.
        all_admins: accept everyone as an admin, without a password.
        dags: a folder of dags with a unique name.
        services: other `airflow` commands to run, such as `scheduler`.
        auth_manager: the source of a module with a class `Manager` that replaces Airflow's simple auth manager.
    """
    environ = dict(os.environ)  # noqa: TID251 - a child process starts with its parent's environment
    python = _python(version, environ, tell)
    shutil.copy(_database(version, python, cache, environ, tell=tell, dags=dags), home / "airflow.db")
    port = free_port()
    airflow = RealAirflow(version, f"http://127.0.0.1:{port}", home, python)
    settings = environ | _settings(home, dags, all_admins=all_admins)
    settings["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = f"{airflow.url}/execution/"
    if auth_manager is not None:
        (home / "config").mkdir()
        (home / "config" / "own_auth_manager.py").write_text(auth_manager)
        settings["AIRFLOW__CORE__AUTH_MANAGER"] = "own_auth_manager.Manager"
    log = home / "api-server.log"
    with contextlib.ExitStack() as running:
        apps = "all" if services else "core"
        process = _start(python, home, settings, ["api-server", "--apps", apps, "--port", str(port)], log)
        running.callback(_stop, process)
        for service in services:
            started = _start(python, home, settings, [service, "--skip-serve-logs"], home / f"{service}.log")
            running.callback(_stop, started)
        _wait_until_it_answers(airflow, process, log)
        yield airflow


@contextmanager
def parser_of(airflow: RealAirflow, dags: Path) -> Iterator[Callable[[], None]]:
    """Yield a function that parses the files of a folder, and writes their dags as Airflow's dag processor does.

    Raises:
        RuntimeError: Airflow could not.
    """
    log = airflow.home / "parse.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(  # noqa: S603 - our own program
            [airflow.python, "-c", PARSE_AT_EACH_LINE],
            env=os.environ | _settings(airflow.home, dags, all_admins=False),  # noqa: TID251 - it starts with its parent's
            cwd=airflow.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        to_it, from_it = process.stdin, process.stdout

        def parse() -> None:
            print(file=to_it, flush=True)
            if from_it.readline() != PARSED:
                raise RuntimeError(f"airflow dags reserialize failed:\n{log.read_text(errors='replace')}")

        yield parse
        to_it.close()


def _run_airflow(python: Path, home: Path, settings: Mapping[str, str], command: Sequence[str]) -> None:
    done = subprocess.run(  # noqa: S603 - our own command
        [python.parent / "airflow", *command], env=settings, cwd=home, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"airflow {' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def _start(
    python: Path, home: Path, settings: Mapping[str, str], words: Sequence[str], log: Path
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(  # noqa: S603 - our own command
            # CHILD ends the process together with this one, even if this one is killed.
            [python, "-I", CHILD, str(os.getpid()), "SIGTERM", str(python.parent / "airflow"), *words],
            env=settings,
            cwd=home,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _python(version: Version, environ: dict[str, str], tell: Callable[[str], None]) -> Path:
    """Return the interpreter with this Airflow; install Airflow on first use."""
    told = False

    def report(_line: str) -> None:
        nonlocal told
        if not told:
            tell(f"installing Airflow {version} for the contract tests; this happens once and takes a minute")
            told = True

    environment = make_environment(f"airflow-{version}", requirements_of(version), environ=environ, report=report)
    return asyncio.run(environment)


def _database(
    version: Version, python: Path, cache: Path, environ: dict[str, str], *, tell: Callable[[str], None], dags: Path
) -> Path:
    """Return a database with the dags; recreate it if the dags or the environment have changed."""
    content = b"".join(path.read_bytes() for path in sorted(dags.glob("*.py"))) + bytes(python)
    database = cache / f"{version}-{dags.name}-{hashlib.sha256(content).hexdigest()[:12]}.db"
    empty = cache / f"{version}-{python.parents[1].name}.db"
    if not database.exists():
        tell(f"creating a database for Airflow {version}; this happens once per change of the dags")
        home = cache / f"{version}-{uuid.uuid4().hex}"
        home.mkdir()
        settings = environ | _settings(home, dags, all_admins=False)
        if empty.exists():
            shutil.copy(empty, home / "airflow.db")
        else:
            _run_airflow(python, home, settings, ["db", "migrate"])
            shutil.copy(home / "airflow.db", home / "empty.db")
            (home / "empty.db").rename(empty)  # at once: another test process may be about to copy it
        _run_airflow(python, home, settings, ["dags", "reserialize"])
        (home / "airflow.db").rename(database)
        shutil.rmtree(home)
        for outdated in cache.glob(f"{version}-{dags.name}-*.db"):
            if outdated != database:
                outdated.unlink()
    return database


def _settings(home: Path, dags: Path, *, all_admins: bool) -> dict[str, str]:
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({"admin": "admin", "viewer": "viewer"}))
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__EXPOSE_CONFIG": str(all_admins),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__SECRET_KEY": "secret",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": JWT_SECRET,
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": str(all_admins),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "ignore",
    }


def _wait_until_it_answers(airflow: RealAirflow, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{airflow.url}/api/v2/version", trust_env=False, verify=PLAIN).is_success:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Airflow {airflow.version} did not start:\n{log.read_text(errors='replace')[-3000:]}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the server and the processes that it started, which share a session."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
