"""Many calls of a one-task dag at once: are the answers right, how late are they, what does it cost Airflow?"""

import time

from bench.delay import delays_of
from bench.stock_airflow import StockAirflow, now
from bench.subjects import DAG, Subject, all_at_once
from bench.table import ASTRO, DAGCALL, NotMeasured, Table, percentile

SECONDS = 120.0
"""For all calls together; a way that takes longer is cut off."""
WANTED = 100
"""The number of calls for which there are goals."""


async def measure(table: Table, airflow: StockAirflow, subject: Subject, column: str, calls: int) -> None:
    """Make so many calls at once."""
    section = f"{calls} calls at once, stock Airflow"
    subject.counts.reset()
    since, began = now(), time.perf_counter()
    outcomes = await all_at_once(subject.call, range(calls), seconds=SECONDS)
    took = time.perf_counter() - began
    requests, most = subject.counts.requests, subject.counts.most_in_flight
    runs = await airflow.settled_runs(DAG, since)
    delays = await delays_of(airflow, outcomes, since)
    is_wanted = calls == WANTED

    def put(what: str, unit: str, value: float | NotMeasured, **goal: float) -> None:
        table.put(section, what, unit, column, value, **(goal if is_wanted else {}))

    put("right answers", "", sum(outcome.is_right for outcome in outcomes), at_least=calls)
    put("runs in Airflow", "", len(runs))
    put("failed runs", "", sum(run["state"] == "failed" for run in runs), at_most=0)
    put("wall time", "s", took)
    late = percentile(delays, 0.95) if delays else NotMeasured("no call was answered")
    put("answer after the run's end, p95", "s", late, at_most=1.5)
    put("requests to Airflow per call", "", requests / calls, at_most=3)
    put("requests in flight at most", "", most, at_most=8)
    if column == ASTRO:
        table.remark(f"{ASTRO} answers with the run's state; its answer counts as right without the result.")
    if column != DAGCALL and len(outcomes) < calls:
        table.remark(
            f"{column}: {calls - len(outcomes)} of {calls} calls had no answer, each waiting a minute at most for the "
            f"next sign of life, and all {SECONDS:.0f} s at most."
        )
