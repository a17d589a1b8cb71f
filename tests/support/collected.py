"""The spans of this process, collected in memory."""

from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind


def context_of(span: ReadableSpan) -> SpanContext:
    """Return the trace and the id of a span."""
    context = span.get_span_context()
    assert context is not None
    return context


class Collected:
    """What a collector has received."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def all(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def named(self, name: str, kind: SpanKind | None = None) -> list[ReadableSpan]:
        return [span for span in self.all if span.name == name and kind in {None, span.kind}]

    def one(self, name: str, kind: SpanKind | None = None) -> ReadableSpan:
        (span,) = self.named(name, kind)
        return span

    def below(self, parent: ReadableSpan) -> list[ReadableSpan]:
        """Return the children of a span in the order of their beginning."""
        own = context_of(parent).span_id
        found = [span for span in self.all if span.parent and span.parent.span_id == own]
        return sorted(found, key=lambda span: span.start_time or 0)


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    """Let this process have a tracer provider during the test; otherwise one can only be set once."""
    spans = Collected()
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", spans.provider)
    monkeypatch.setattr("mcp.shared._otel._tracer", spans.provider.get_tracer("mcp-python-sdk"))
    yield spans
    spans.provider.shutdown()
