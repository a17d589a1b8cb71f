"""The metrics as a table: name, kind, labels and meaning. The documentation is generated from it.

Pure. Every label has a bounded set of values, whatever callers send: unknown tools and methods have no label of their
own.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    """Without the `_total` of a counter."""
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()
    """The upper bounds of a histogram, in seconds."""

    @property
    def exported_name(self) -> str:
        """The name in queries, for a histogram without its suffixes."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


CONVENTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""The buckets that OpenTelemetry's conventions for MCP name."""
PHASE_SECONDS = (0.005, *CONVENTIONS, 900.0, 3600.0)

REQUESTS = Metric(
    "dagcall_requests",
    "counter",
    ("method", "tool", "outcome"),
    'Tool calls (`method="tools/call"`), and requests about tasks and resources: one for each line of the audit log. '
    "`outcome` is the audit log's. `tool` is empty if no such tool is published.",
)
PHASES = Metric(
    "dagcall_call_phase_seconds",
    "histogram",
    ("phase",),
    "Where the time of calls goes. `line`: until the trigger is sent; `start`: until Airflow has confirmed the run; "
    "`run`: until dagcall sees its end; `answer`: until the answer is ready. All but `run` is delay that dagcall adds.",
    PHASE_SECONDS,
)
OPERATIONS = Metric(
    "mcp_server_operation_duration_seconds",
    "histogram",
    (
        "mcp_method_name",
        "gen_ai_tool_name",
        "gen_ai_operation_name",
        "error_type",
        "rpc_response_status_code",
        "mcp_protocol_version",
        "network_transport",
    ),
    "`mcp.server.operation.duration` of OpenTelemetry's conventions for MCP: every request and notification, with the "
    "conventions' attributes as labels.",
    CONVENTIONS,
)
IN_PROGRESS = Metric("dagcall_requests_in_progress", "gauge", (), "Tool calls and reads of resources in progress.")
WAITED_FOR = Metric("dagcall_runs_waited_for", "gauge", (), "Runs that callers wait for.")
READY = Metric("dagcall_ready", "gauge", (), "1 if `GET /ready` says so, otherwise 0.")
AIRFLOW_REQUESTS = Metric(
    "dagcall_airflow_requests",
    "counter",
    ("method", "endpoint", "status"),
    "Requests to Airflow. `endpoint` is a route template; `status` is Airflow's, or `timeout`, `unreachable` or "
    "`cancelled` without an answer.",
)
IN_FLIGHT = Metric(
    "dagcall_airflow_in_flight",
    "gauge",
    ("purpose",),
    "Requests to Airflow in flight; `purpose` is `result`, `trigger`, `discovery` or `stream` (one run's states).",
)
IN_LINE = Metric("dagcall_airflow_in_line", "gauge", ("purpose",), "Requests that wait in dagcall for their turn.")
LIMIT = Metric(
    "dagcall_airflow_in_flight_limit", "gauge", (), "How many requests may be in flight now, without streams."
)
BREAKER = Metric("dagcall_airflow_breaker_open", "gauge", (), "1 while Airflow does not answer, otherwise 0.")
LOG_INS = Metric(
    "dagcall_airflow_log_ins",
    "counter",
    ("outcome",),
    "Attempts to get a token for Airflow: `success`, `refused` (by Airflow) or `failed`.",
)
REFUSED = Metric(
    "dagcall_callers_refused",
    "counter",
    ("reason",),
    "HTTP requests without valid credentials: `missing`, `invalid_token`, `insufficient_scope`, or `issuer_away` if "
    "the token could not be verified.",
)
TOOLS = Metric("dagcall_catalog_tools", "gauge", (), "Published tools of dags.")
CATALOG_AGE = Metric(
    "dagcall_catalog_age_seconds",
    "gauge",
    (),
    "Seconds since dagcall last read the dags from Airflow; missing before the first time.",
)
WITHHELD = Metric(
    "dagcall_catalog_withheld",
    "gauge",
    ("kind",),
    "Selected dags and parts of tools that are not published. `dagcall tools` says which, and why.",
)
METRICS = (
    REQUESTS,
    PHASES,
    IN_PROGRESS,
    WAITED_FOR,
    READY,
    AIRFLOW_REQUESTS,
    IN_FLIGHT,
    IN_LINE,
    LIMIT,
    BREAKER,
    LOG_INS,
    REFUSED,
    TOOLS,
    CATALOG_AGE,
    WITHHELD,
    OPERATIONS,
)
