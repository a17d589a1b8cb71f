"""Questions about Airflow itself that only a diagnosis asks.

Without retries: one answer, or its absence, is the finding.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dagcall.airflow.answers import PARSE_ERRORS
from dagcall.airflow.client import RunKey
from dagcall.airflow.gate import Purpose
from dagcall.airflow.http import HttpAnswer, Transport
from dagcall.airflow.model import DagSummary, RunState
from dagcall.airflow.paging import PAGE, RUN_LIST
from dagcall.airflow.rest import AirflowRest
from dagcall.errors import AirflowNotFound

COMPONENTS = ("scheduler", "triggerer", "dag_processor")


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What Airflow knows of one of its components."""

    status: str | None
    """`healthy` or `unhealthy`; None if Airflow has never seen this component."""
    last: datetime | None


async def fetch_heartbeats(rest: AirflowRest) -> dict[str, Heartbeat]:
    """Return the heartbeat of each component; `metadatabase` has none, but a status."""

    def read(data: Mapping[str, Any]) -> dict[str, Heartbeat]:
        found = {"metadatabase": Heartbeat(data["metadatabase"]["status"], None)}
        for name in COMPONENTS:
            component = data.get(name) or {}
            last = component.get(f"latest_{name}_heartbeat")
            found[name] = Heartbeat(component.get("status"), None if last is None else datetime.fromisoformat(last))
        return found

    return await rest.get("monitor/health", purpose=Purpose.RESULT, read=read, is_anonymous=True, attempts=1)


async def fetch_option(rest: AirflowRest, section: str, option: str) -> str | None:
    """Return an option of Airflow's configuration; None if it is not set and has no default.

    Raises:
        AirflowRefused: Airflow does not expose its configuration (`[api] expose_config`); this is the default.
    """
    try:
        return await rest.get(
            f"config/section/{section}/option/{option}",
            purpose=Purpose.RESULT,
            read=lambda data: str(data["sections"][0]["options"][0]["value"]),
            attempts=1,
        )
    except AirflowNotFound:
        return None


async def fetch_unfinished_run(rest: AirflowRest) -> RunKey | None:
    """Return the newest run that is queued or running, of any dag that the account may see."""
    found = await rest.ask(
        RUN_LIST,
        purpose=Purpose.RESULT,
        body={"states": [RunState.QUEUED, RunState.RUNNING], "order_by": "-run_after", "page_limit": 1},
        read=lambda data: [(str(run["dag_id"]), str(run["dag_run_id"])) for run in data["dag_runs"]],
        attempts=1,
    )
    return found[0] if found else None


async def fetch_broken_dags(rest: AirflowRest) -> tuple[DagSummary, ...]:
    """Return the dags whose files Airflow can no longer import; at most one page.

    Airflow also marks them as stale, so they are missing from the lists of dags from which tools are made.
    """
    found = await rest.get(
        "dags",
        purpose=Purpose.RESULT,
        query={"has_import_errors": True, "exclude_stale": False, "order_by": "dag_id", "limit": PAGE},
        read=lambda data: [DagSummary.from_json(dag) for dag in data["dags"]],
        attempts=1,
    )
    return tuple(dag for dag in found if dag.has_import_errors)


async def fetch_auth_manager(front: Transport) -> str | None:
    """Return what Airflow's auth manager calls itself, e.g. `FAB auth manager API`; None if it does not say.

    Auth managers are applications of their own, below /auth, with a description of their API that everyone may read.
    """
    return _field(await front.send("GET", "/auth/openapi.json", headers={}, is_effect_possible=False), "info", "title")


def version_of(answer: HttpAnswer) -> str | None:
    """Return the version in an answer to `/api/v2/version` (in Airflow 2: v1); None in other answers."""
    return _field(answer, "version")


def _field(answer: HttpAnswer, *names: str) -> str | None:
    """Return a text in the JSON of an answer; None if it is not there."""
    if not answer.is_success:
        return None
    try:
        found = json.loads(answer.content)
        for name in names:
            found = found[name]
    except PARSE_ERRORS:
        return None
    return found if isinstance(found, str) else None
