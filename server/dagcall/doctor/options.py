"""Options of Airflow's configuration that make calls slow or wrong, where Airflow exposes them.

Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from dagcall.doctor.finding import Finding, duration, failure, ok, skipped, warning
from dagcall.settings import is_loopback

IDLE_SECONDS = 0.5
PARSE_SECONDS = 120.0
DEFAULT_BASE_URL = "http://localhost:8080"
FALSE = frozenset({"f", "false", "0"})
"""As Airflow itself reads it."""

CONF, IDLE_SLEEP = ("core", "dag_run_conf_overrides_params"), ("scheduler", "scheduler_idle_sleep_time")
EXECUTION_URL, EXECUTOR = ("core", "execution_api_server_url"), ("core", "executor")
BASE_URL, PORT = ("api", "base_url"), ("api", "port")
PARSE, FIND = ("dag_processor", "min_file_process_interval"), ("dag_processor", "refresh_interval")
OPTIONS = (CONF, IDLE_SLEEP, EXECUTION_URL, EXECUTOR, BASE_URL, PORT, PARSE, FIND)

Options = Mapping[tuple[str, str], str | None]
"""Section and option -> value; None if it is not set and has no default."""


@dataclass(frozen=True, slots=True)
class OptionFacts:
    """The options; None if Airflow does not expose them."""

    options: Options | None


def judge_exposure(facts: OptionFacts) -> Finding:
    """Judge whether Airflow's configuration can be seen."""
    if facts.options is None:
        return skipped(
            "Airflow does not expose it, or not to this account",
            "To have it checked, set [api] expose_config = True in Airflow for that time",
        )
    return ok("exposed to this account")


def judge_conf(facts: OptionFacts) -> Finding:
    """Judge whether Airflow passes arguments to runs."""
    if ((facts.options or {}).get(CONF) or "True").strip().lower() in FALSE:
        return failure(
            "dag_run_conf_overrides_params is False: tasks would see the defaults instead of a call's arguments",
            "Set [core] dag_run_conf_overrides_params = True in Airflow",
        )
    return ok("arguments reach the tasks")


def judge_idle_sleep(facts: OptionFacts) -> Finding:
    """Judge how long the scheduler sleeps before it notices a run."""
    seconds = _number((facts.options or {}).get(IDLE_SLEEP))
    if seconds is None:
        return skipped("scheduler_idle_sleep_time is not known")
    if seconds > IDLE_SECONDS:
        return warning(
            f"scheduler_idle_sleep_time is {seconds:g} s: the scheduler sleeps so long before it starts a run, and "
            "again before each next task and the run's end",
            "For prompt answers, set [scheduler] scheduler_idle_sleep_time = 0.1 in Airflow",
        )
    return ok(f"scheduler_idle_sleep_time is {seconds:g} s")


def judge_parsing(facts: OptionFacts) -> Finding:
    """Judge how long Airflow takes to notice a changed dag."""
    options = facts.options or {}
    parse, find = _number(options.get(PARSE)), _number(options.get(FIND))
    if parse is None or find is None:
        return skipped("min_file_process_interval and refresh_interval are not known")
    found = f"Airflow notices a changed dag within {duration(parse)}, a new one within {duration(find)}"
    if max(parse, find) > PARSE_SECONDS:
        return warning(
            found,
            "If that is too late, lower [dag_processor] min_file_process_interval and refresh_interval in Airflow",
        )
    return ok(found)


def judge_execution_url(facts: OptionFacts) -> Finding:
    """Judge whether tasks find the api-server that they report to.

    Airflow's default is `base_url` with `/execution/`, and that of `base_url` is port 8080 of localhost, whatever the
    api-server's port is.
    """
    options = facts.options or {}
    base = options.get(BASE_URL) or DEFAULT_BASE_URL
    given = options.get(EXECUTION_URL)
    url = given or f"{base.rstrip('/')}/execution/"
    parts, path = urlsplit(url), f"{urlsplit(base).path.rstrip('/')}/execution"
    executor = (options.get(EXECUTOR) or "LocalExecutor").rpartition(".")[2]
    is_here, port = is_loopback(parts.hostname or ""), options.get(PORT)
    tasks = f"tasks report to {url}"
    advice = "Set [core] execution_api_server_url in Airflow to the address of its api-server as workers see it"
    if parts.path.rstrip("/") != path:
        return warning(f"{tasks}, but this Airflow answers at {path}/: tasks fail, unless a proxy changes that", advice)
    if is_here and executor != "LocalExecutor":
        return warning(
            f"{tasks}, on each worker's own machine ({executor}): they fail where no api-server runs", advice
        )
    if is_here and port is not None and parts.port is not None and str(parts.port) != port:
        listens = f"{tasks}, but the api-server listens on port {port} ([api] port)"
        if given:
            return warning(f"{listens}: tasks fail, unless something passes their requests on", advice)
        return failure(f"{listens}: tasks fail", advice)
    return ok(tasks)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
