"""OpenTelemetry's usual environment variables -> a provider that exports spans over OTLP.

The only module that imports OpenTelemetry's SDK, which is there with dagcall[otel].
"""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider, set_tracer_provider

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SERVICE_NAME = "dagcall"
LAST_SPANS_SECONDS = 3.0
"""How long a collector may take for the last spans, when dagcall stops."""


def _variable(*names: str) -> str:
    """Return the first of these variables that is set."""
    return next((value for name in names if (value := os.environ.get(name))), "")  # noqa: TID251 - OpenTelemetry's own


@contextmanager
def exported_traces() -> Iterator[None]:
    """Export spans during the block, if the environment says where to; send the last ones at its end."""
    is_off = _variable("OTEL_SDK_DISABLED").lower() == "true" or _variable("OTEL_TRACES_EXPORTER") == "none"
    endpoint = _variable(*ENDPOINTS)
    if is_off or not endpoint or not isinstance(get_tracer_provider(), ProxyTracerProvider):
        yield
        return
    protocol = _variable(*PROTOCOLS)
    if protocol not in {"", "http/protobuf"}:
        logger.warning("no traces are exported: dagcall speaks OTLP over http/protobuf, not %s", protocol)
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import SERVICE_NAME as NAME  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        logger.warning("no traces are exported to %s: they need dagcall[otel]", endpoint)
        yield
        return
    resource = Resource.create()
    if str(resource.attributes[NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({NAME: SERVICE_NAME}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    set_tracer_provider(provider)
    logger.info("traces go to %s", endpoint)
    try:
        yield
    finally:
        sending = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(LAST_SPANS_SECONDS)  # the exporter would retry for longer
