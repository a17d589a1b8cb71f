"""The part of docs/proof.md and docs/benchmarks.md about the soak test."""

from typing import Any

from tests.proof.markdown import table

ROWS = (
    ("resident memory of dagcall, KiB", "memory_kib"),
    ("open files and sockets", "files"),
    ("asyncio tasks", "tasks"),
    ("threads", "threads"),
    ("dag runs in Airflow", "runs"),
    ("rows in Airflow's audit log", "log_rows"),
)


def section(findings: dict[str, Any]) -> str:
    """Return the actions, and the resources of the idle dagcall after two fifths of the time and at the end."""
    done = ", ".join(f"{count:,} x {name.replace('_', ' ')}" for name, count in findings["done"].items())
    before, after = findings["before"], findings["after"]
    rows = [(what, f"{before[name]:,.0f}", f"{after[name]:,.0f}") for what, name in ROWS]
    return (
        f"Ten callers at a time, in both protocol eras, over changing connections: {done}. Every answer was correct, "
        "and Airflow has as many runs as calls. Each run added "
        f"{findings['rows_a_run']} rows to Airflow's audit log.\n\n"
        + table(("resource while idle", "after two fifths of the time", "at the end"), rows)
    )
