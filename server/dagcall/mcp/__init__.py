"""The protocol: what clients are listed, what a call answers, tasks, elicitation, progress, and the audit log.

Errors and answers become words and messages here. Refuses to know how bytes come in: `cli` serves it.
"""

from dagcall.mcp.audit import Audit, opened
from dagcall.mcp.delivery import StdioDeliveries, with_delivery
from dagcall.mcp.handshake import with_client_names
from dagcall.mcp.line_ends import escaped, with_escaped_line_ends
from dagcall.mcp.server import McpServer

__all__ = [
    "Audit",
    "McpServer",
    "StdioDeliveries",
    "escaped",
    "opened",
    "with_client_names",
    "with_delivery",
    "with_escaped_line_ends",
]
