"""What is counted as it happens: requests and their phases; and how the metrics are written.

Each server has a registry of its own, so that several can run in one process.
"""

import asyncio
from typing import Any

from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp_types import INVALID_PARAMS, CallToolResult
from mcp_types.version import KNOWN_PROTOCOL_VERSIONS
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from pydantic import ValidationError

from dagcall.mcp import AuditRecord
from dagcall.metrics import names
from dagcall.metrics.names import Metric
from dagcall.metrics.state import State
from dagcall.runs import PHASES
from dagcall.tools import Catalog, own_tools

OTHER = "_OTHER"
"""The conventions' word for a value outside of the known ones."""
CALL = "tools/call"
METHODS = frozenset(
    {
        "initialize",
        "notifications/cancelled",
        "notifications/initialized",
        "notifications/progress",
        "ping",
        "resources/list",
        "resources/read",
        "resources/templates/list",
        "server/discover",
        "subscriptions/listen",
        "tasks/cancel",
        "tasks/get",
        "tasks/update",
        CALL,
        "tools/list",
    }
)
"""The methods that dagcall serves."""


class Metrics:
    """The metrics of one server.

    Args:
        catalog: knows the tools that may be labels.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._own_tools = frozenset(tool.name for tool in own_tools())
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        requests = names.REQUESTS
        self._requests = Counter(requests.name, requests.meaning, requests.labels, registry=self._registry)
        phases = self._histogram(names.PHASES)
        self._phases = {phase: phases.labels(phase) for phase in PHASES}
        self._operations = self._histogram(names.OPERATIONS)

    def _histogram(self, metric: Metric) -> Histogram:
        return Histogram(metric.name, metric.meaning, metric.labels, registry=self._registry, buckets=metric.buckets)

    def export(self, state: State) -> None:
        """Export the state of a server, too."""
        self._registry.register(state)

    def text(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics in a format that this Accept header names, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def requested(self, record: AuditRecord, seconds: float) -> None:
        """Count a request that has ended."""
        method = record.method.partition(" ")[0]
        self._requests.labels(method, record.published, record.outcome).inc()
        for phase, begin, end in record.times.spans(record.started + seconds):
            self._phases[phase].observe(end - begin)

    async def watch(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Measure a message from its arrival to its answer."""
        now = asyncio.get_running_loop().time
        started, error, code = now(), "", ""
        try:
            result = await call_next(ctx)
            if _is_error(result):
                error = "tool_error"
        except MCPError as problem:
            error = code = str(problem.error.code)
            raise
        except ValidationError:
            error = code = str(INVALID_PARAMS)
            raise
        except asyncio.CancelledError:
            error = "cancelled"
            raise
        except BaseException:
            error = OTHER
            raise
        else:
            return result
        finally:
            is_call = ctx.method == CALL
            self._operations.labels(
                ctx.method if ctx.method in METHODS else OTHER,
                self._tool(ctx) if is_call else "",
                "execute_tool" if is_call else "",
                error,
                code,
                ctx.protocol_version if ctx.protocol_version in KNOWN_PROTOCOL_VERSIONS else OTHER,
                "pipe" if ctx.request is None else "tcp",
            ).observe(now() - started)

    def _tool(self, ctx: ServerRequestContext[Any, Any]) -> str:
        name = (ctx.params or {}).get("name")
        is_known = isinstance(name, str) and (name in self._own_tools or name in self._catalog.snapshot.tools)
        return str(name) if is_known else OTHER


def _is_error(result: HandlerResult) -> bool:
    if isinstance(result, CallToolResult):
        return bool(result.is_error)
    return isinstance(result, dict) and result.get("isError") is True
