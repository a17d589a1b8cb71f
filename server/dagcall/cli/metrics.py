"""`/metrics` as a route: for everybody who reaches it, or for some callers."""

from collections.abc import Callable

from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dagcall.auth import SCOPE_KEY, Caller, is_meant
from dagcall.metrics import Metrics

METRICS_PATH = "/metrics"
IsAllowed = Callable[[Request], bool]


def metrics_route(
    metrics: Metrics, *, hosts: TransportSecuritySettings, is_allowed: IsAllowed = lambda _: True
) -> Route:
    """Return the route.

    Args:
        metrics: the metrics of the server.
        hosts: the names accepted in Host headers, against DNS rebinding by web pages.
        is_allowed: whether a request may read them.
    """
    security = TransportSecurityMiddleware(hosts)

    async def answer(request: Request) -> Response:
        if (refusal := await security.validate_request(request)) is not None:
            return refusal
        if not is_allowed(request):
            description = "only the callers that metrics.callers names in dagcall's settings may read the metrics"
            return JSONResponse({"error": "forbidden", "error_description": description}, status_code=403)
        content, content_type = metrics.text(request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": content_type})

    return Route(METRICS_PATH, answer)


def only_for(selectors: tuple[str, ...]) -> IsAllowed:
    """Return what allows the requests of some authenticated callers."""

    def is_allowed(request: Request) -> bool:
        caller = request.scope.get(SCOPE_KEY)
        return isinstance(caller, Caller) and is_meant(caller, selectors)

    return is_allowed
