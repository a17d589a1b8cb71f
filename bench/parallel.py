"""Many calls of a one-task dag at once: are the answers right, how late are they, what does it cost Airflow?"""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from statistics import median

from bench.delay import delays_of
from bench.servers import HOST
from bench.stock_airflow import StockAirflow, now
from bench.subjects import DAG, Outcome, Subject, all_at_once, logged_in
from bench.table import ASTRO, DAGCALL, SCRIPT, TRIGGER_ONLY, NotMeasured, Table, percentile

SECONDS = 120.0
"""For all calls together; a way that takes longer is cut off."""
WANTED = 100
"""The number of calls for which there are goals."""
PAIRED, PAIRS = 20, 5
POSTS = 4
"""How many triggers are in flight when runs are only triggered: enough to keep the api-server's one process busy."""
WALL_TIME = "wall time"


def section_of(calls: int) -> str:
    """Return the name of a section of the table."""
    return f"{calls} calls at once, stock Airflow"


async def measure(table: Table, airflow: StockAirflow, subject: Subject, column: str, calls: int) -> None:
    """Make so many calls at once."""
    section = section_of(calls)
    subject.counts.reset()
    since = now()
    outcomes, took = await _timed(subject, calls)
    requests, most = subject.counts.requests, subject.counts.most_in_flight
    runs = await airflow.settled_runs(DAG, since)
    delays = await delays_of(airflow, outcomes, since)
    is_wanted = calls == WANTED

    def put(what: str, unit: str, value: float | NotMeasured, **goal: float) -> None:
        table.put(section, what, unit, column, value, **(goal if is_wanted else {}))

    put("right answers", "", sum(outcome.is_right for outcome in outcomes), at_least=calls)
    put("runs in Airflow", "", len(runs))
    put("failed runs", "", sum(run["state"] == "failed" for run in runs), at_most=0)
    put(WALL_TIME, "s", took)
    late = percentile(delays, 0.95) if delays else NotMeasured("no call was answered")
    put("answer after the run's end, p95", "s", late, at_most=1.0)
    put("requests to Airflow per call", "", requests / calls, at_most=3)
    put("requests in flight at most", "", most, at_most=30)
    if column == ASTRO:
        table.remark(f"{ASTRO} answers with the run's state; its answer counts as right without the result.")
    if column != DAGCALL and len(outcomes) < calls:
        table.remark(
            f"{column}: {calls - len(outcomes)} of {calls} calls had no answer, each waiting a minute at most for the "
            f"next sign of life, and all {SECONDS:.0f} s at most."
        )


async def measure_trigger_only(table: Table, airflow: StockAirflow, calls: int) -> None:
    """Trigger as many runs at the pace at which Airflow takes them, and wait for none: no way to call is faster."""
    posting = asyncio.Semaphore(POSTS)
    since = now()
    async with logged_in(airflow, f"http://{HOST}:{airflow.port}") as http:

        async def post(n: int) -> None:
            async with posting:
                body = {"logical_date": now().isoformat(), "conf": {"n": n}}
                (await http.post(f"dags/{DAG}/dagRuns", json=body)).raise_for_status()

        await asyncio.gather(*(post(n) for n in range(calls)))
    ends = [run["end_date"] for run in await airflow.settled_runs(DAG, since)]
    took = max(datetime.fromisoformat(end).timestamp() for end in ends) - since.timestamp()
    section = section_of(calls)
    table.put(section, WALL_TIME, "s", TRIGGER_ONLY, took)
    own = table.rows[section, WALL_TIME].cells[DAGCALL]
    assert isinstance(own, float)  # noqa: S101 - a wall time is always measured
    table.put(
        section,
        f"{WALL_TIME}, as a multiple of trigger only",
        "",
        DAGCALL,
        own / took,
        at_most=1.15,
    )


async def measure_pairs(table: Table, subject: Subject, script: Subject) -> None:
    """Make calls at once with dagcall and the script in turns."""
    section = f"{PAIRED} calls at once, {PAIRS} pairs, stock Airflow"
    pairs = [((await _timed(subject, PAIRED))[1], (await _timed(script, PAIRED))[1]) for _ in range(PAIRS)]
    for column, times in ((DAGCALL, [own for own, _ in pairs]), (SCRIPT, [other for _, other in pairs])):
        table.put(section, f"{WALL_TIME}, median", "s", column, median(times))
    table.put(
        section, "as a multiple of the script's, median", "", DAGCALL, median(a / b for a, b in pairs), at_most=1.0
    )


async def measure_servers(table: Table, airflow: StockAirflow, subjects: Sequence[Subject], calls: int) -> None:
    """Make calls at once, shared out among servers that know nothing of each other."""
    section = f"{calls} calls at once to {len(subjects)} servers, stock Airflow"
    since, began = now(), time.perf_counter()
    each = calls // len(subjects)
    parts = await asyncio.gather(*(_timed(subject, each) for subject in subjects))
    took = time.perf_counter() - began
    outcomes: list[Outcome] = [outcome for part, _ in parts for outcome in part]
    delays = await delays_of(airflow, outcomes, since)
    table.put(section, "right answers", "", DAGCALL, sum(outcome.is_right for outcome in outcomes), at_least=calls)
    table.put(section, WALL_TIME, "s", DAGCALL, took)
    late = percentile(delays, 0.95) if delays else NotMeasured("no call was answered")
    table.put(section, "answer after the run's end, p95", "s", DAGCALL, late)


async def _timed(subject: Subject, calls: int) -> tuple[list[Outcome], float]:
    """Make calls at once; return those that were answered, and how long all took."""
    began = time.perf_counter()
    outcomes = await all_at_once(subject.call, range(calls), seconds=SECONDS)
    return outcomes, time.perf_counter() - began
