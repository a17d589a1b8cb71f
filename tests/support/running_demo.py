"""`dagcall demo`, started as a user starts it, and stopped with Ctrl-C."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from dagcall.demo.process_table import ProcessRow, family, process_table, still_running
from dagcall.demo.processes import CHILD
from tests.support.commands import DAGCALL, clean_environ, free_ports
from tests.support.output import Output
from tests.support.plain_http import PLAIN

START_SECONDS = 900.0
"""The first start installs Airflow; later starts take 30 to 60 s."""
STOP_SECONDS = 120.0
LAST_LINE = "Ctrl-C stops everything"


@dataclass(frozen=True)
class RunningDemo:
    """A demo that is ready, and what it told its user."""

    url: str
    airflow_url: str
    folder: Path
    introduction: str
    """Its output."""
    environ: Mapping[str, str]
    """The environment of a user's shell, in which dagcall finds this demo by itself."""
    admin_password: str

    @property
    def config(self) -> Path:
        """The settings file that the demo wrote."""
        return self.folder / "dagcall.toml"

    def allowing(self, folder: Path, tools: str) -> Path:
        """Write settings for this Airflow that end with these entries of `[[tools]]`, and return the file."""
        path = folder / "dagcall.toml"
        settings, found, _ = self.config.read_text(encoding="utf-8").partition("[[tools]]")
        assert found
        path.write_text(settings + tools, encoding="utf-8")
        return path

    def runs_of(self, dag_id: str) -> dict[str, str]:
        """Return the runs of a dag from Airflow: run id -> state."""
        with self.rest() as http:
            found: dict[str, str] = {}
            while True:
                answer = http.get(f"/dags/{dag_id}/dagRuns", params={"limit": 100, "offset": len(found)})
                page: dict[str, Any] = answer.raise_for_status().json()
                found |= {run["dag_run_id"]: run["state"] for run in page["dag_runs"]}
                if len(found) >= page["total_entries"]:
                    return found

    def note_of(self, dag_id: str, run_id: str) -> str:
        """Return the note of a run from Airflow."""
        with self.rest() as http:
            run = http.get(f"/dags/{dag_id}/dagRuns/{run_id}").raise_for_status().json()
        return run["note"] or ""

    def rest(self) -> httpx.Client:
        """Return a client of Airflow's REST API that is logged in as admin."""
        user = {"username": "admin", "password": self.admin_password}
        with httpx.Client(base_url=self.airflow_url, trust_env=False, verify=PLAIN, timeout=60) as http:
            token = http.post("/auth/token", json=user).raise_for_status().json()["access_token"]
        return httpx.Client(
            base_url=f"{self.airflow_url}/api/v2",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            verify=PLAIN,
            timeout=60,
        )


@contextmanager
def running_demo(
    base: Path, own_dags: Iterable[Path], tell: Callable[[str], None], *, command: Sequence[str] = DAGCALL
) -> Iterator[RunningDemo]:
    """Run a demo; at the end, stop it as a user does and check that it leaves no processes behind.

    Args:
        base: an empty folder.
        own_dags: the files that the user's dags folder gets.
        tell: called with each progress message.
        command: the command `dagcall`.
    """
    folder = base / "dagcall" / "demo"
    (folder / "dags").mkdir(parents=True)
    for path in own_dags:
        shutil.copy(path, folder / "dags")
    environ = clean_environ(XDG_DATA_HOME=str(base))
    port, airflow_port = free_ports(2)
    words = ["demo", "--port", str(port), "--airflow-port", str(airflow_port), "--dir", str(folder)]
    began = time.monotonic()
    tell("starting `dagcall demo`: a real Airflow, installed if it is missing")
    with (
        subprocess.Popen(  # noqa: S603 - our own command
            # CHILD ends the demo together with this process, even if this process is killed.
            [sys.executable, "-I", CHILD, str(os.getpid()), "SIGINT", *command, *words],
            env=environ,
            cwd=base,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process,
        Output(process.stdout) as output,
    ):
        try:
            introduction = _introduction(output, tell)
            tell(f"the demo is ready after {time.monotonic() - began:.0f} s")
            yield RunningDemo(
                url=f"http://127.0.0.1:{port}/mcp",
                airflow_url=f"http://127.0.0.1:{airflow_port}",
                folder=folder,
                introduction=introduction,
                environ=environ,
                admin_password=introduction.partition("password ")[2].partition(")")[0],
            )
        except BaseException:
            _stop(process)
            raise
        rows = family(process_table(), process.pid)
        assert rows, "the demo ended before it was stopped"
        code = _stop(process)
    assert code == 0, f"after Ctrl-C, the demo ended with exit code {code}"
    left = _left_of(rows)
    assert not left, f"the stopped demo left processes behind: {left}"
    tell("the demo has stopped and left no process behind")


def _introduction(output: Output, tell: Callable[[str], None]) -> str:
    """Read the demo's output up to its last line; pass on its progress."""

    def on_line(line: str) -> None:
        if ": done in" in line:
            tell(f"  {line.strip()}")

    output.until(lambda line: line.startswith(LAST_LINE), seconds=START_SECONDS, on_line=on_line)
    return "".join(output.said)


def _stop(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def _left_of(rows: list[ProcessRow]) -> list[ProcessRow]:
    """Return the processes of `rows` that still run, and those that have joined their sessions since."""
    sessions = {row.session for row in rows}
    joined = [row for row in process_table() if row.session in sessions]
    return [*still_running(rows), *joined]
