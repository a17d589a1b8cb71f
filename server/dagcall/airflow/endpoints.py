"""Paths of requests to Airflow -> what is known of them.

* A route template, for counting: a bounded set, whatever dags and runs are called.
* Its kind: which requests take about as long, how long on an idle Airflow, and whether Airflow reads the answer
  elsewhere.

Pure.
"""

from collections import Counter
from typing import Any, NamedTuple

OTHER = "other"
"""A path that dagcall never requests; or the table below lacks it."""

RUN = "/api/v2/dags/{dag_id}/dagRuns/{run_id}"
TASK = f"{RUN}/taskInstances/{{task_id}}"
TEMPLATES = (
    "/auth/token",
    "/pluginsv2/aws_mwaa/login",
    "/api/v2/version",
    "/api/v2/monitor/health",
    "/api/v2/importErrors",
    "/api/v2/config/section/{section}/option/{option}",
    "/api/v2/dags",
    "/api/v2/dags/~/dagVersions",
    "/api/v2/dags/~/dagRuns",
    "/api/v2/dags/~/dagRuns/list",
    "/api/v2/dags/~/dagRuns/~/taskInstances/list",
    "/api/v2/dags/{dag_id}",
    "/api/v2/dags/{dag_id}/details",
    "/api/v2/dags/{dag_id}/tasks",
    "/api/v2/dags/{dag_id}/dagRuns",
    RUN,
    f"{RUN}/wait",
    f"{RUN}/hitlDetails",
    f"{TASK}/logs/{{try_number}}",
    f"{TASK}/dependencies",
    f"{TASK}/xcomEntries",
    f"{TASK}/xcomEntries/{{key}}",
    f"{TASK}/{{map_index}}/dependencies",
    f"{TASK}/{{map_index}}/hitlDetails",
)

CALM_READ_SECONDS = 0.02
"""What a stock Airflow takes while it has little to do, with some room: 12 ms for a read and 31 ms for a trigger."""
CALM_CHANGE_SECONDS = 0.05
CALM_LONG_READ_SECONDS = 0.1
LOGS = "logs"
LONG = {LOGS, "xcomEntries"}

Requests = Counter[tuple[str, str, str]]
"""How many requests of each (method, route template, status) were sent; without an answer, the status says why."""

_ID, _END = "{}", ""
_Tree = dict[str, Any]


def _tree() -> _Tree:
    """Return the templates as nested mappings, by segment."""
    root: _Tree = {}
    for template in TEMPLATES:
        node = root
        for segment in template.split("/")[1:]:
            node = node.setdefault(_ID if segment.startswith("{") else segment, {})
        node[_END] = template
    return root


_TREE = _tree()


def endpoint_of(path: str) -> str:
    """Return the template of a path without its query, such as `/api/v2/dags/{dag_id}`."""
    return _found(_TREE, path.split("/"), 1) or OTHER


class Kind(NamedTuple):
    """What a request has in common with others."""

    name: str
    """Requests of the same name take about as long."""
    calm_seconds: float
    """How long that is on an idle stock Airflow."""
    is_read_elsewhere: bool
    """Whether Airflow reads the answer elsewhere: logs come from workers, or from a store of logs. If it cannot, this
    says nothing about Airflow itself."""


def kind_of(method: str, path: str) -> Kind:
    """Return the kind of a request.

    Args:
        method: the method.
        path: the path below `/api/v2/`.
    """
    words = path.split("/")
    names = words[::2]  # between them are ids
    calm_read = CALM_READ_SECONDS if LONG.isdisjoint(names) else CALM_LONG_READ_SECONDS
    calm = calm_read if method == "GET" else CALM_CHANGE_SECONDS
    return Kind(f"{method} {'/'.join(names)} {len(words)}", calm, LOGS in names)


def _found(node: _Tree, segments: list[str], position: int) -> str | None:
    """Return the template below a node; a literal segment is preferred, but may turn out to be an id."""
    if position == len(segments):
        found: str | None = node.get(_END)
        return found
    for key in (segments[position], _ID):
        if key and (child := node.get(key)) is not None and (template := _found(child, segments, position + 1)):
            return template
    return None
