"""The spans of one server: those of a call's phases, below the span that the SDK makes of its message.

A call's phases are known when it ends, so their spans are made then, with the times at which they were.
"""

import asyncio
import time
from typing import Self

from opentelemetry.trace import (
    ProxyTracerProvider,
    Tracer,
    TracerProvider,
    get_current_span,
    get_tracer_provider,
)

from dagcall.airflow import AirflowApi
from dagcall.mcp import AuditRecord
from dagcall.runs import Phase
from dagcall.traces.run_spans import RunSpans

NAMES: dict[Phase, str] = {
    "line": "wait in line",
    "start": "start the run",
    "run": "wait for the run",
    "answer": "read the outcome",
}
NO_RUN = frozenset({"refused", "error"})
"""Outcomes of requests that have no run, or name one that may be another caller's."""
OVER = frozenset({"success", "failed", "cancelled", "done"})
"""Outcomes after which the run has usually ended."""


class Traces:
    """Makes spans.

    Args:
        api: Airflow.
        tracer: makes them.
    """

    def __init__(self, api: AirflowApi, tracer: Tracer) -> None:
        self._tracer = tracer
        self._run_spans = RunSpans(api, tracer)

    @classmethod
    def of(cls, api: AirflowApi, provider: TracerProvider | None = None) -> Self | None:
        """Return what makes spans with the process's provider, or another one; None if there is none."""
        provider = provider or get_tracer_provider()
        return None if isinstance(provider, ProxyTracerProvider) else cls(api, provider.get_tracer("dagcall"))

    def requested(self, record: AuditRecord, seconds: float) -> None:
        """Make the spans of a request that has ended, while the span of its message is the current one."""
        span = get_current_span()
        if not span.is_recording():
            return
        about = {"airflow.dag_id": record.dag, "airflow.dag_run.run_id": record.run_id}
        known = {name: value for name, value in about.items() if value is not None}
        span.set_attributes({"dagcall.outcome": record.outcome, **known})
        began = time.time_ns() - _nanoseconds(asyncio.get_running_loop().time())
        for phase, begin, end in record.times.spans(record.started + seconds):
            part = self._tracer.start_span(NAMES[phase], start_time=began + _nanoseconds(begin), attributes=known)
            part.end(began + _nanoseconds(end))
        if record.run_id is not None and record.dag is not None and record.outcome not in NO_RUN:
            key = record.dag, record.run_id
            self._run_spans.add(key, span.get_span_context(), seconds=seconds, is_over=record.outcome in OVER)

    async def aclose(self) -> None:
        """Make the spans of runs that have just ended, as far as that is quick."""
        await self._run_spans.aclose()


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
