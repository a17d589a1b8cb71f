"""What is read when metrics are asked for: the gate, the breaker, the waiter, the catalog, and what they count.

Nothing is counted twice: each part keeps its own numbers, and this module reads them.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from dagcall.airflow import Credentials, Gate, LogInOutcome, Purpose, Requests
from dagcall.auth import Refusal, Refusals
from dagcall.metrics import names
from dagcall.metrics.names import Metric
from dagcall.runs import Waiter
from dagcall.tools import Catalog, WithheldKind

Family = CounterMetricFamily | GaugeMetricFamily
Values = Mapping[Any, float]
"""Label values -> value."""


@dataclass(frozen=True, slots=True, eq=False)
class State(Collector):
    """The parts of one server whose state is exported."""

    catalog: Catalog
    waiter: Waiter
    gate: Gate
    requests: Requests
    credentials: Sequence[Credentials]
    """dagcall's own, and those of other accounts."""
    refusals: Refusals
    in_progress: Callable[[], int]
    is_ready: Callable[[], bool]

    def collect(self) -> Iterator[Family]:
        """Yield the current values."""
        gate, catalog = self.gate, self.catalog
        yield _family(names.IN_PROGRESS, {(): self.in_progress()})
        yield _family(names.WAITED_FOR, {(): self.waiter.watched})
        yield _family(names.READY, {(): self.is_ready()})
        yield _family(names.AIRFLOW_REQUESTS, self.requests)
        yield _family(names.IN_FLIGHT, {(purpose.name.lower(),): gate.in_flight_for(purpose) for purpose in Purpose})
        in_line = (purpose for purpose in Purpose if purpose is not Purpose.STREAM)  # a stream takes only a free place
        yield _family(names.IN_LINE, {(purpose.name.lower(),): gate.waiting(purpose) for purpose in in_line})
        yield _family(names.LIMIT, {(): gate.limit})
        yield _family(names.BREAKER, {(): gate.breaker.is_open})
        log_ins = sum((each.log_ins for each in self.credentials), Counter[LogInOutcome]())
        yield _family(names.LOG_INS, {(outcome,): log_ins[outcome] for outcome in get_args(LogInOutcome)})
        yield _family(names.REFUSED, {(reason,): self.refusals[reason] for reason in get_args(Refusal)})
        yield _family(names.TOOLS, {(): len(catalog.snapshot.tools)})
        read_at = catalog.read_at
        yield _family(names.CATALOG_AGE, {} if read_at is None else {(): asyncio.get_running_loop().time() - read_at})
        kinds = Counter(item.kind for item in catalog.snapshot.withheld)
        yield _family(names.WITHHELD, {(kind,): kinds[kind] for kind in get_args(WithheldKind)})


def _family(metric: Metric, values: Values) -> Family:
    """Return the current values of a metric."""
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = make(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
