"""The SDK's OpenTelemetry spans exist only if a tracer provider is configured."""

import pytest
from opentelemetry.trace import NoOpTracerProvider

from tests.fake_airflow import FakeAirflow, FakeDag
from tests.support.in_memory import Served


@pytest.mark.parametrize("is_collected", [True, False])
async def test_span_middleware_is_installed_only_with_a_provider(
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
