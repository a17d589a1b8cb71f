"""OpenTelemetry's spans, which the SDK makes, are made where somebody collects them."""

import pytest
from opentelemetry.trace import NoOpTracerProvider

from tests.fake_airflow import FakeAirflow, FakeDag
from tests.support.in_memory import Served


@pytest.mark.parametrize("is_collected", [True, False])
async def test_spans_are_made_where_a_provider_is_set(
    served: Served, monkeypatch: pytest.MonkeyPatch, *, is_collected: bool
) -> None:
    if is_collected:
        monkeypatch.setattr("dagcall.mcp.server.get_tracer_provider", NoOpTracerProvider)
    airflow = FakeAirflow()
    airflow.add_dag(FakeDag("add"))

    async with served(airflow, dags=["*"]) as dagcall:
        makers = [type(layer).__name__ for layer in dagcall.mcp.sdk.middleware]

    assert ("OpenTelemetryMiddleware" in makers) == is_collected
    assert "RequestStateBoundary" in makers
