"""A dag and the operator's policy -> an MCP tool: name, schemas and description; and the catalog of all tools.

Mostly pure; `catalog` reads Airflow and the pins. Refuses to know runs and waiting calls.
"""

from dagcall.tools.catalog import Catalog
from dagcall.tools.dag_cache import DagCache
from dagcall.tools.discovery import PAUSED, reason_not_to_run
from dagcall.tools.input_schema import TYPE_SAYING_KEYS, InputSchema
from dagcall.tools.keywords import JsonObject
from dagcall.tools.pin_folder import PinFolder
from dagcall.tools.pins import Pins, differences, names_alike, pin_text
from dagcall.tools.policy import ToolPolicy, policy_from_text
from dagcall.tools.selection import Selection
from dagcall.tools.snapshot import Snapshot, Withheld, WithheldKind, published_by
from dagcall.tools.tool import (
    CANCEL_TOOL_NAME,
    READ_TOOL_NAME,
    WAIT_TOOL_NAME,
    LeftOut,
    Tool,
    own_tools,
    wire_json,
    written_description,
)

__all__ = [
    "CANCEL_TOOL_NAME",
    "PAUSED",
    "READ_TOOL_NAME",
    "TYPE_SAYING_KEYS",
    "WAIT_TOOL_NAME",
    "Catalog",
    "DagCache",
    "InputSchema",
    "JsonObject",
    "LeftOut",
    "PinFolder",
    "Pins",
    "Selection",
    "Snapshot",
    "Tool",
    "ToolPolicy",
    "Withheld",
    "WithheldKind",
    "differences",
    "names_alike",
    "own_tools",
    "pin_text",
    "policy_from_text",
    "published_by",
    "reason_not_to_run",
    "wire_json",
    "written_description",
]
