"""What every request about a task needs, and how errors are reported for it."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mcp import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp_types import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from dagcall.errors import DagcallError, UnknownRun, UnknownTool
from dagcall.mcp.request import Context
from dagcall.mcp.task_protocol import (
    EXTENSION,
    REQUIRED_CAPABILITIES,
    TaskParams,
)
from dagcall.plain_json import Json
from dagcall.text import shortened, visible

logger = logging.getLogger(__name__)

P = TypeVar("P", bound=TaskParams)


def are_declared(ctx: Context) -> bool:
    """Return whether this request itself declares the extension."""
    capabilities = ctx.session.client_capabilities
    is_modern = ctx.session.protocol_version in MODERN_PROTOCOL_VERSIONS
    return is_modern and capabilities is not None and EXTENSION in (capabilities.extensions or {})


def require_declared(ctx: Context) -> None:
    """Require that the client declares the extension.

    Raises:
        MCPError: it does not.
    """
    if not are_declared(ctx):
        raise MCPError(
            code=MISSING_REQUIRED_CLIENT_CAPABILITY,
            message=f"{ctx.method} requires the client to declare the extension {EXTENSION} in this request",
            data=REQUIRED_CAPABILITIES,
        )


def guarded(
    handler: Callable[[Context, P], Awaitable[dict[str, Json]]],
) -> Callable[[Context, P], Awaitable[dict[str, Json]]]:
    """Check what every request about a task needs, and turn errors into protocol errors."""

    async def guarded(ctx: Context, params: P) -> dict[str, Json]:
        require_declared(ctx)
        _require_matching_header(ctx, params.task_id)
        try:
            return await handler(ctx, params)
        except (UnknownRun, UnknownTool) as error:
            message = f"There is no task {shortened(params.task_id)!r} that you have started."
            raise MCPError(code=INVALID_PARAMS, message=message) from error
        except DagcallError as error:
            raise MCPError(code=INTERNAL_ERROR, message=visible(str(error))) from error
        except Exception as error:
            logger.exception("internal error in %s", ctx.method)
            message = f"dagcall failed during {ctx.method}; see its log."
            raise MCPError(code=INTERNAL_ERROR, message=message) from error

    return guarded


def _require_matching_header(ctx: Context, task_id: str) -> None:
    """Refuse a request whose `Mcp-Name` names another task; a missing header is accepted, because we do not need it."""
    header = ctx.request.headers.get(MCP_NAME_HEADER) if ctx.request is not None else None
    if header is not None and decode_header_value(header) != task_id:
        message = f"{MCP_NAME_HEADER} header does not match the request body's 'taskId' parameter"
        raise MCPError(code=HEADER_MISMATCH, message=message)
