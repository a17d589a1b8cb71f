"""Mixed calls for the duration of `make soak SECONDS=…`: dagcall's resources do not grow."""

import asyncio
import os
import random
import secrets
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.record import Record, until
from tests.proof import record
from tests.soak.callers import Caller, Count
from tests.soak.levels import Levels, grown, of_process, rows_a_run
from tests.support.commands import clean_environ
from tests.support.running_demo import RunningDemo, running_demo
from tests.support.serving_process import http_server
from tests.support.terminal import terminal_of

DAGS = Path(__file__).parent / "dags"
SECONDS = float(os.environ.get("SECONDS") or 900)  # noqa: TID251 - configures the test, not dagcall
SEED = int(os.environ.get("SEED") or secrets.randbits(32))  # noqa: TID251 - likewise
WARM_SHARE = 0.4
"""The share of the time before the first measurement: until the memory of large results has reached its full size."""
IDLE_SECONDS = 15.0
"""Until idle connections are closed and the last delivery marks are written."""
CALLERS = 10
TOOLS = ("add", "broken", "rows", "held")


def environ_for(demo: RunningDemo, folder: Path) -> dict[str, str]:
    airflow = tomllib.loads(demo.config.read_text())["airflow"]
    path = folder / "dagcall.toml"
    tools = "\n".join(f'[[tools]]\ndag = "{tool}"' for tool in TOOLS)
    path.write_text(
        f'[airflow]\nurl = "{demo.airflow_url}"\nusername = "{airflow["username"]}"\n'
        f'password_file = "{demo.folder / airflow["password_file"]}"\n{tools}\n'
    )
    return clean_environ(DAGCALL_CONFIG=str(path), SOAK_REPORT=str(folder / "report.json"))


async def levels(pid: int, report: Path, airflow: Record) -> Levels:
    await asyncio.sleep(IDLE_SECONDS)
    runs = sum([await airflow.count(f"dags/{tool}/dagRuns") for tool in TOOLS])
    return Levels(
        **await asyncio.to_thread(of_process, pid, report), runs=runs, log_rows=await airflow.count("eventLogs")
    )


@pytest.mark.long
async def test_resources_do_not_grow(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    tell = terminal_of(request.config)
    tell(f"soak: SEED={SEED} SECONDS={SECONDS:.0f}")
    folder = tmp_path / "server"
    folder.mkdir()
    with running_demo(tmp_path / "demo", [DAGS / "soak_dags.py"], tell) as demo:
        environ = environ_for(demo, folder)
        command = [sys.executable, "-m", "tests.soak.observed"]
        async with Record(demo.airflow_url, demo.admin_password) as airflow:
            await airflow.make_pool("closed", 0)
            for tool in TOOLS:
                await until(partial(airflow.has_dag, tool))
            with http_server(environ, command) as server:
                count, found = Count(tell), []
                for seconds in (SECONDS * WARM_SHARE, SECONDS * (1 - WARM_SHARE)):
                    ends_at = asyncio.get_running_loop().time() + seconds
                    chances = [random.Random(f"{SEED} {number} {seconds}") for number in range(CALLERS)]  # noqa: S311
                    callers = [Caller(server.url, airflow, chance, count) for chance in chances]
                    await asyncio.gather(*(caller.go_on(ends_at) for caller in callers))
                    found.append(await levels(server.process.pid, folder / "report.json", airflow))
                    tell(f"{dict(count.done)}, {found[-1]}")
                code, errors = await asyncio.to_thread(server.stop)
    before, after = found
    assert count.wrong == [], count.wrong
    assert after.runs == count.started
    assert grown(before, after) == []
    assert code == 0
    assert "Traceback" not in errors
    findings: dict[str, Any] = {"done": dict(count.done), "before": before.as_json(), "after": after.as_json()}
    findings["rows_a_run"] = round(rows_a_run(before, after), 2)
    record.write("soak", findings, seconds=SECONDS)
