"""`dagcall doctor` in front of the demo's Airflow: what is well, and what is wrong after a change."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dagcall.demo.process_table import family, process_table, send
from tests.fake_airflow.serving import WallClock
from tests.support.commands import clean_environ, run_dagcall
from tests.support.nginx import nginx
from tests.support.on_a_socket import on_a_socket
from tests.support.plain_http import PLAIN
from tests.support.polling import until
from tests.support.running_demo import RunningDemo

SECONDS = 90.0
"""Longer than Airflow takes to notice a stopped scheduler (30 s), or a changed file."""
FILE = """
from airflow.sdk import dag, task

@task
def it() -> int:
    return 1

@dag(schedule=None, tags=["mcp"], description="For the doctor.")
def breakable() -> None:
    it()

breakable()
"""


def examined(demo: RunningDemo, *words: str, code: int = 0, **environ: str) -> dict[str, dict[str, Any]]:
    """Return the checks of `dagcall doctor --json` by name."""
    done = run_dagcall(
        "doctor", "--json", *words, environ={**demo.environ, "DAGCALL_CONFIG": str(demo.config), **environ}
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout)
    assert found["is_well"] is (code == 0)
    return {check["name"]: check for check in found["checks"]}


def names(checks: dict[str, dict[str, Any]], status: str) -> set[str]:
    return {name for name, check in checks.items() if check["status"] == status}


def airflow_notices(look: Callable[[], bool]) -> None:
    until(look, seconds=SECONDS, interval=0.5)


@contextmanager
def own_dag(demo: RunningDemo) -> Iterator[Path]:
    """Add a dag to the demo's own ones, and wait until Airflow has it; remove it at the end."""
    file = demo.folder / "dags" / "breakable.py"
    file.write_text(FILE)
    try:
        with demo.rest() as http:
            airflow_notices(lambda: http.get("/dags/breakable").is_success)
        yield file
    finally:
        file.unlink()
        with demo.rest() as http:
            airflow_notices(lambda: http.get("/dags/breakable").json().get("is_stale", True))
            http.delete("/dags/breakable")


@contextmanager
def unfinished_run(demo: RunningDemo) -> Iterator[None]:
    """Start a run that takes some time; set it to failed at the end."""
    run = {"logical_date": None, "dag_run_id": f"doctor-{time.monotonic_ns()}", "conf": {"seconds": 5, "batches": 5}}
    with demo.rest() as http:
        http.post("/dags/slow_steps/dagRuns", json=run).raise_for_status()
        try:
            yield
        finally:
            http.patch(f"/dags/slow_steps/dagRuns/{run['dag_run_id']}", json={"state": "failed"}).raise_for_status()


def last_heartbeat(http: httpx.Client, part: str) -> datetime:
    return datetime.fromisoformat(http.get("/monitor/health").json()[part][f"latest_{part}_heartbeat"])


@contextmanager
def stopped(demo: RunningDemo, part: str) -> Iterator[None]:
    note = json.loads((demo.folder / "run" / f"airflow-{part}.pid").read_text())
    rows = family(process_table(), note["pid"])
    send(rows, signal.SIGSTOP)
    try:
        yield
    finally:
        resumed = WallClock().now()
        send(rows, signal.SIGCONT)
        with demo.rest() as http:
            # The first heartbeat afterwards is written with the time of the one before; the status may change twice.
            airflow_notices(lambda: last_heartbeat(http, part) > resumed)


def test_demo_is_well_and_stays_untouched(demo: RunningDemo) -> None:
    def traces() -> list[int]:
        with demo.rest() as http:
            return [
                http.get(path, params={"limit": 1}).raise_for_status().json()["total_entries"]
                for path in ("/dags/~/dagRuns", "/eventLogs", "/dags/~/dagVersions")
            ]

    before = traces()
    checks = examined(demo, DAGCALL_SERVER_PUBLIC_URL=demo.url)
    assert traces() == before
    assert names(checks, "failure") == set()
    assert names(checks, "skipped") <= {
        *("streaming", "pins", "configuration", "arguments", "idle sleep", "parse interval", "execution API")
    }
    assert checks["version"]["found"] == "Airflow 3.3.2"
    assert checks["auth manager"]["found"] == "the simple auth manager"
    assert checks["log-in"]["found"] == "as user 'agent'"
    assert checks["public address"]["found"] == f"dagcall answers at {demo.url}"
    assert checks["may start runs"]["status"] == "ok"


def test_lines_are_for_people(demo: RunningDemo) -> None:
    done = run_dagcall("doctor", "factorial", environ=demo.environ)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert "ok       version                  Airflow 3.3.2" in lines
    assert "ok       may start runs           granted on factorial" in lines
    assert lines[-1].endswith(" skipped")


def test_stopped_scheduler_is_named(demo: RunningDemo) -> None:
    with stopped(demo, "scheduler"), demo.rest() as http:
        airflow_notices(lambda: http.get("/monitor/health").json()["scheduler"]["status"] == "unhealthy")
        checks = examined(demo, code=1)
        printed = run_dagcall("doctor", environ=demo.environ)
    assert names(checks, "failure") == {"scheduler"}
    assert "runs stay queued" in checks["scheduler"]["found"]
    assert "-> Start it (airflow scheduler), and read its log" in printed.stdout
    assert printed.returncode == 1


def test_paused_dag_is_named(demo: RunningDemo) -> None:
    with demo.rest() as http:
        http.patch("/dags/factorial", json={"is_paused": True}).raise_for_status()
        try:
            checks = examined(demo)
        finally:
            http.patch("/dags/factorial", json={"is_paused": False}).raise_for_status()
    assert names(checks, "failure") == set()
    assert checks["paused dags"]["status"] == "warning"
    assert checks["paused dags"]["found"].startswith("factorial: not published")


def test_broken_dag_is_named(demo: RunningDemo) -> None:
    with own_dag(demo) as file, demo.rest() as http:
        file.write_text(FILE + "\nraise RuntimeError('as asked')\n")
        airflow_notices(lambda: http.get("/dags/breakable").json()["has_import_errors"])
        checks = examined(demo, code=1)
    assert names(checks, "failure") == {"broken dags"}
    assert checks["broken dags"]["found"].startswith("breakable: ")
    assert "breakable.py (RuntimeError: as asked)" in checks["import errors"]["found"]


def test_wrong_password_is_named(demo: RunningDemo) -> None:
    environ = clean_environ(
        DAGCALL_AIRFLOW_URL=demo.airflow_url,
        DAGCALL_AIRFLOW_USERNAME="agent",
        DAGCALL_AIRFLOW_PASSWORD="not-the-password",
        DAGCALL_DAGS="*",
    )
    done = run_dagcall("doctor", environ=environ)
    assert done.returncode == 1
    assert "failure  log-in" in done.stdout
    assert "skipped  after: log-in            not checked: token, renewal, may list dags" in done.stdout
    assert "not-the-password" not in done.stdout + done.stderr


def test_invalid_settings_are_reported(tmp_path: Path) -> None:
    (tmp_path / "dagcall.toml").write_text('[airflow]\nusrname = "x"\n')
    done = run_dagcall("doctor", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "airflow.usrname is not a dagcall setting" in done.stderr


def holding_back(url: str) -> Starlette:
    """Return a proxy that passes on an answer only once it is complete."""

    async def passed_on(request: Request) -> Response:
        headers = {name: value for name, value in request.headers.items() if name not in {"host", "content-length"}}
        target = f"{url}{request.url.path}?{request.url.query}"
        async with httpx.AsyncClient(trust_env=False, verify=PLAIN, timeout=60) as http:
            answer = await http.request(request.method, target, headers=headers, content=await request.body())
        kept = {name: value for name, value in answer.headers.items() if name in {"content-type", "date"}}
        return Response(answer.content, answer.status_code, kept)

    return Starlette(routes=[Route("/{path:path}", passed_on, methods=["GET", "POST"])])


def test_proxy_that_holds_back_streams_is_named(demo: RunningDemo) -> None:
    with on_a_socket(holding_back(demo.airflow_url)) as proxy, unfinished_run(demo):
        checks = examined(demo, DAGCALL_AIRFLOW_URL=proxy)
    assert names(checks, "failure") == set()
    assert checks["streaming"]["status"] == "warning"
    assert "something in front of Airflow holds it back" in checks["streaming"]["found"]


@pytest.mark.parametrize("buffering", ["on", "off"])
async def test_nginx_passes_on_the_stream(demo: RunningDemo, tmp_path: Path, buffering: str) -> None:
    """Airflow's server sends each line as a chunk, and nginx passes on whole chunks, also with `proxy_buffering on`."""
    location = f"location / {{ proxy_pass {demo.airflow_url}; proxy_buffering {buffering}; }}"
    async with nginx(tmp_path, location) as proxy:
        with unfinished_run(demo):
            checks = examined(demo, DAGCALL_AIRFLOW_URL=proxy)
    assert names(checks, "failure") == set()
    assert checks["streaming"]["status"] == "ok", checks["streaming"]
