"""The soak's part of docs/proof.md and docs/benchmarks.md."""

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
    """Return what was done, and what dagcall held while nobody called: after two fifths of the time, and at the end."""
    done = ", ".join(f"{count:,} x {name.replace('_', ' ')}" for name, count in findings["done"].items())
    before, after = findings["before"], findings["after"]
    rows = [(what, f"{before[name]:,.0f}", f"{after[name]:,.0f}") for what, name in ROWS]
    return (
        f"Ten callers at a time, in both eras of the protocol, over connections that come and go: {done}. Every answer "
        "was right, and Airflow has as many runs as calls. Each run brought "
        f"{findings['rows_a_run']} rows into Airflow's audit log.\n\n"
        + table(("held while nobody calls", "after two fifths of the time", "at the end"), rows)
    )
