"""One call at a time of a one-task dag: how much later than the run's end does the answer come?"""

from datetime import datetime

from bench.stock_airflow import StockAirflow, now
from bench.subjects import DAG, Outcome, Subject
from bench.table import DAGCALL, Table, percentile

SECTION = "One call at a time, stock Airflow"
CALLS = {DAGCALL: 30, "script": 30}
CALLS_OF_OTHERS = 12
"""Of a way that takes many seconds for each."""


async def measure(table: Table, airflow: StockAirflow, subject: Subject, column: str) -> None:
    """Call one after another."""
    calls = CALLS.get(column, CALLS_OF_OTHERS)
    await subject.call(0)  # the first one loads what later ones find loaded
    since = now()
    outcomes = [await subject.call(n) for n in range(1, calls + 1)]
    delays = await delays_of(airflow, outcomes, since)
    table.put(SECTION, "answer after the run's end, p50", "ms", column, percentile(delays, 0.5) * 1000, at_most=25)
    table.put(SECTION, "answer after the run's end, p95", "ms", column, percentile(delays, 0.95) * 1000, at_most=60)
    table.put(SECTION, "calls measured", "", column, len(delays))


async def delays_of(airflow: StockAirflow, outcomes: list[Outcome], since: datetime) -> list[float]:
    """Return for each answered call how many seconds after its run's end the answer came."""
    ends = {run["dag_run_id"]: run["end_date"] for run in await airflow.settled_runs(DAG, since)}
    return [
        outcome.answered_at - datetime.fromisoformat(ends[outcome.run_id]).timestamp()
        for outcome in outcomes
        if ends.get(outcome.run_id)
    ]
