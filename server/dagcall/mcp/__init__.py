"""The protocol: the list of tools, answers to calls, tasks, elicitation, progress, and the audit log.

Turns errors and answers into MCP messages and text. Refuses to know how bytes come in: `cli` serves it.
"""

from dagcall.mcp.audit import Audit, AuditRecord, opened
from dagcall.mcp.delivery import StdioDeliveries, with_delivery
from dagcall.mcp.handshake import with_client_names
from dagcall.mcp.line_ends import escaped, with_escaped_line_ends
from dagcall.mcp.request import said_in_note
from dagcall.mcp.server import McpServer

__all__ = [
    "Audit",
    "AuditRecord",
    "McpServer",
    "StdioDeliveries",
    "escaped",
    "opened",
    "said_in_note",
    "with_client_names",
    "with_delivery",
    "with_escaped_line_ends",
]
