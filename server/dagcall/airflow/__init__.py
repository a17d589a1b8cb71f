"""Airflow's REST API, 3.1 to 3.3: its nouns, one method per question, and everything that can go wrong on the way.

Knows tokens, time-outs, overload, retries and what differs between versions. Refuses to know MCP, tools, and who calls:
it is given an account and a purpose with each request.
"""

from dagcall.airflow.account import Account
from dagcall.airflow.auth_token import LogIn, as_client, as_user, log_in
from dagcall.airflow.client import AirflowApi, DagQuery, RunKey
from dagcall.airflow.clock import AirflowClock
from dagcall.airflow.credentials import (
    Credentials,
    FetchToken,
    LogInOutcome,
    expiries_of,
    is_token,
    no_token,
    static_token,
    subject_of,
    token_command,
)
from dagcall.airflow.dag_source import DagSource
from dagcall.airflow.diagnosis import (
    Heartbeat,
    fetch_auth_manager,
    fetch_broken_dags,
    fetch_heartbeats,
    fetch_option,
    fetch_unfinished_run,
    version_of,
)
from dagcall.airflow.endpoints import Requests
from dagcall.airflow.gate import DEFAULT_CEILING, DEFAULT_FLOOR, DEFAULT_QUEUE, MAX_ANSWER_BYTES, Gate, Purpose
from dagcall.airflow.health import (
    count_running,
    fetch_durations,
    fetch_hindrances,
    fetch_latest_successes,
    fetch_scheduler_silence,
)
from dagcall.airflow.hitl import MAY_WAIT_FOR_PEOPLE, Question, Response
from dagcall.airflow.http import IssuerHttp, Transport, proxy_for
from dagcall.airflow.import_errors import BrokenFile, ImportErrors, import_hint
from dagcall.airflow.managed import google_token, mwaa_token
from dagcall.airflow.model import (
    FINISHED,
    Dag,
    DagSummary,
    DagVersion,
    Frame,
    LogEvent,
    LoggedException,
    Param,
    Run,
    RunState,
    Task,
    TaskInstance,
    leaf_task_ids,
)
from dagcall.airflow.overload import Breaker
from dagcall.airflow.paging import PAGE
from dagcall.airflow.permissions import (
    CHANGE_RUNS,
    LIST_DAGS,
    READ_DAG,
    READ_LOGS,
    READ_QUESTIONS,
    READ_RUNS,
    READ_TASK_INSTANCES,
    READ_TASKS,
    READ_VERSIONS,
    READ_XCOMS,
    START_RUNS,
    Permission,
    Right,
    fetch_right,
)
from dagcall.airflow.rest import AirflowRest, airflow_clock
from dagcall.airflow.retry_policy import is_not_sent, is_unreachable, retry
from dagcall.airflow.task_dates import ExcludingDate, excluding_date, reason_for_no_result
from dagcall.airflow.tls_errors import tls_problem
from dagcall.airflow.versions import NEWEST_TESTED, OLDEST, RESULTS_THROUGH_WAIT, version_in
from dagcall.airflow.xcoms import fetch_results, fetch_stored_map_indexes, fetch_xcom

__all__ = [
    "CHANGE_RUNS",
    "DEFAULT_CEILING",
    "DEFAULT_FLOOR",
    "DEFAULT_QUEUE",
    "FINISHED",
    "LIST_DAGS",
    "MAX_ANSWER_BYTES",
    "MAY_WAIT_FOR_PEOPLE",
    "NEWEST_TESTED",
    "OLDEST",
    "PAGE",
    "READ_DAG",
    "READ_LOGS",
    "READ_QUESTIONS",
    "READ_RUNS",
    "READ_TASKS",
    "READ_TASK_INSTANCES",
    "READ_VERSIONS",
    "READ_XCOMS",
    "RESULTS_THROUGH_WAIT",
    "START_RUNS",
    "Account",
    "AirflowApi",
    "AirflowClock",
    "AirflowRest",
    "Breaker",
    "BrokenFile",
    "Credentials",
    "Dag",
    "DagQuery",
    "DagSource",
    "DagSummary",
    "DagVersion",
    "ExcludingDate",
    "FetchToken",
    "Frame",
    "Gate",
    "Heartbeat",
    "ImportErrors",
    "IssuerHttp",
    "LogEvent",
    "LogIn",
    "LogInOutcome",
    "LoggedException",
    "Param",
    "Permission",
    "Purpose",
    "Question",
    "Requests",
    "Response",
    "Right",
    "Run",
    "RunKey",
    "RunState",
    "Task",
    "TaskInstance",
    "Transport",
    "airflow_clock",
    "as_client",
    "as_user",
    "count_running",
    "excluding_date",
    "expiries_of",
    "fetch_auth_manager",
    "fetch_broken_dags",
    "fetch_durations",
    "fetch_heartbeats",
    "fetch_hindrances",
    "fetch_latest_successes",
    "fetch_option",
    "fetch_results",
    "fetch_right",
    "fetch_scheduler_silence",
    "fetch_stored_map_indexes",
    "fetch_unfinished_run",
    "fetch_xcom",
    "google_token",
    "import_hint",
    "is_not_sent",
    "is_token",
    "is_unreachable",
    "leaf_task_ids",
    "log_in",
    "mwaa_token",
    "no_token",
    "proxy_for",
    "reason_for_no_result",
    "retry",
    "static_token",
    "subject_of",
    "tls_problem",
    "token_command",
    "version_in",
    "version_of",
]
