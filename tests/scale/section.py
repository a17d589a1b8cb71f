"""The part of docs/proof.md about deployments with several of everything."""

from typing import Any

from tests.proof.markdown import table

ROWS = {
    "parallel": "calls at once",
    "api_server_starting": "SIGKILL of an api-server while the calls trigger their runs",
    "api_server_running": "SIGKILL of an api-server while the calls wait",
    "worker_slow": "SIGKILL of a Celery worker; the tasks have no retries",
    "worker_slow_with_a_retry": "the same; the tasks have one retry",
    "dagcall": "SIGKILL of a dagcall; the callers that lost their connection repeat the call",
    "long_call": "calls longer than nginx's time-outs of 60 s, in both protocol eras",
    "long_task": "such a call as a task (MCP's tasks extension), polled by turns at both",
    "other_replica": "`wait_for_dag_run` and `read_dag_result` at the dagcall that did not start the run",
}
"""The findings, by name."""
EXTRA = {
    "broken": "{} requests to Airflow broke off",
    "retried": "{} retried tasks",
    "lost": "{} broken connections",
    "progress": "{} progress messages for each call",
    "first": "the first after at most {} s",
    "polls": "{} polls",
}


def section(findings: dict[str, Any]) -> str:
    """Return a row for each test."""
    rows = []
    for name, what in ROWS.items():
        found = findings[name]
        notes = ", ".join(words.format(found[key]) for key, words in EXTRA.items() if key in found)
        rows.append(
            (
                what,
                found["calls"],
                found["right"],
                found["calls"] - found["right"],
                found["runs"],
                found["seconds"],
                notes,
            )
        )
    return (
        "Two api-servers and two dagcalls, each pair behind nginx with its default time-outs, and two Celery workers "
        "with four slots each (redis as broker). Each call has exactly one run, and each answer is its result or names "
        "it. With a killed part, seconds are counted from the kill.\n\n"
        + table(("what", "calls", "right results", "failures that name the run", "runs", "seconds", "also"), rows)
    )
