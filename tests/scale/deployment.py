"""A whole deployment: two api-servers, two Celery workers and two dagcalls, the servers behind nginx."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import httpx

from dagcall.demo.folder import Folder
from dagcall.demo.stack import socket_folder
from tests.faults.record import Record, until
from tests.scale.balancing import location, upstream
from tests.scale.replica import Replica
from tests.support.commands import clean_environ, free_ports
from tests.support.nginx import nginx
from tests.support.own_airflow import OwnAirflow, own_airflow
from tests.support.redis import redis

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements" / "airflow-celery-3.26.0.txt"
DAGS = ("add", "slow", "slow_with_a_retry", "minute", "held")
API_SERVER, WORKER = "api-server", "worker-1"
"""The parts that are killed; `api-server-2` and `worker-2` go on."""
TASKS_PER_WORKER = 4
WAIT_SECONDS = 600
"""How long dagcall waits for a run here: with two cores for everything, a hundred tasks take minutes."""
LOST_TASKS = {
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
    "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
}
"""Airflow notices the tasks of a killed worker in seconds; with its defaults it takes five to ten minutes."""


@dataclass(frozen=True)
class Deployment:
    """The deployment; made by `deployment`."""

    airflow: OwnAirflow
    record: Record
    """Airflow's records, through nginx."""
    replicas: tuple[Replica, Replica]
    url: str
    """The URL of both dagcalls, through nginx."""
    folders: Mapping[str, Path]
    """The folders of the parts."""

    @property
    def api_server(self) -> str:
        """Return the address of the api-server that is killed."""
        return self.airflow.url.removeprefix("http://")

    def broken_requests(self) -> int:
        """Return how many requests to Airflow broke off while nginx waited for the answer."""
        return (self.folders["airflow-nginx"] / "error.log").read_text(encoding="utf-8").count("while reading ")

    def served(self) -> Counter[str]:
        """Return how many requests each dagcall got from nginx, by address."""
        return Counter((self.folders["dagcall-nginx"] / "served.log").read_text(encoding="utf-8").split())


@asynccontextmanager
async def deployment(base: Path, tell: Callable[[str], None]) -> AsyncIterator[Deployment]:
    """Run everything.

    Args:
        base: an empty folder.
        tell: called with each progress message.
    """
    second, airflow_port, *dagcall_ports = free_ports(4)
    airflow_url = f"http://127.0.0.1:{airflow_port}"
    folders = {name: base / name for name in ("redis", "airflow", "airflow-nginx", "dagcall-nginx")}
    for folder in folders.values():
        folder.mkdir()
    async with AsyncExitStack() as running:
        broker = await running.enter_async_context(redis(folders["redis"]))
        own_settings = celery(broker, folders["airflow"]) | LOST_TASKS
        own_settings["API__BASE_URL"] = airflow_url
        own_settings["CORE__EXECUTION_API_SERVER_URL"] = f"{airflow_url}/execution/"
        more = {"api-server-2": ("api-server", "--port", str(second)), **workers(folders["airflow"])}
        airflow = await running.enter_async_context(
            own_airflow(
                folders["airflow"], HERE / "dags", tell, requirements=REQUIREMENTS, own_settings=own_settings, more=more
            )
        )
        addresses = [airflow.url.removeprefix("http://"), f"127.0.0.1:{second}"]
        await until(partial(answers, addresses[1]))
        await running.enter_async_context(
            nginx(folders["airflow-nginx"], location("airflow"), upstream("airflow", addresses), port=airflow_port)
        )
        record = await running.enter_async_context(Record(airflow_url, airflow.admin_password))
        await record.make_pool("closed", 0)
        for dag_id in DAGS:
            await until(partial(record.has_dag, dag_id))
        environ = clean_environ(
            DAGCALL_AIRFLOW_URL=airflow_url,
            DAGCALL_AIRFLOW_USERNAME="agent",
            DAGCALL_AIRFLOW_PASSWORD_FILE=str(airflow.folder.agent_password_file),
            DAGCALL_DAGS="*",
            DAGCALL_SERVER_WAIT_SECONDS=str(WAIT_SECONDS),
        )
        first, other = (Replica(environ, port, base / f"dagcall-{port}.log") for port in dagcall_ports)
        for replica in (first, other):
            running.push_async_callback(replica.stop)
            await replica.start()
        folder = folders["dagcall-nginx"]
        served = f"access_log {folder / 'served.log'} served;\n"
        group = "log_format served '$upstream_addr';\n" + upstream("dagcall", [first.address, other.address])
        proxy = await running.enter_async_context(nginx(folder, served + location("dagcall"), group))
        yield Deployment(airflow, record, (first, other), f"{proxy}/mcp", folders)
    assert not any("Traceback" in replica.log.read_text() for replica in (first, other))


def celery(broker: str, airflow: Path) -> dict[str, str]:
    """Return Airflow's settings for Celery with its own database as result backend."""
    sockets = quote(str(socket_folder(Folder(airflow).postgres)), safe="")
    return {
        "CORE__EXECUTOR": "CeleryExecutor",
        "CELERY__BROKER_URL": broker,
        "CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://postgres@/airflow?host={sockets}",
        "CELERY__WORKER_CONCURRENCY": str(TASKS_PER_WORKER),
    }


def workers(airflow: Path) -> dict[str, tuple[str, ...]]:
    """Return the command lines of the Celery workers."""
    return {
        name: (
            *("celery", "worker", "--celery-hostname", f"{name}@%h"),
            *("--pid", str(airflow / f"{name}.celery-pid"), "--skip-serve-logs"),
        )
        for name in (WORKER, "worker-2")
    }


async def answers(address: str) -> bool:
    """Return whether an api-server answers the tasks, whose API it builds on the first request."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        try:
            return (await http.get(f"http://{address}/execution/health/ping")).is_success
        except httpx.TransportError:
            return False
