"""Puts answers on the wire, and tells the operator of results that are not as they are declared.

Once for each definition of a tool, not for each call: the call itself has its results all the same.
"""

import logging
from collections.abc import Mapping
from functools import partial

from mcp_types import CallToolResult

from dagcall.mcp.answers import call_result, error_result
from dagcall.mcp.failure_text import failure_text
from dagcall.mcp.request import Context
from dagcall.plain_json import Json
from dagcall.runs import SHARED, Answer
from dagcall.tools import Tool

logger = logging.getLogger(__name__)

LINKS_SINCE = "2025-06-18"
"""The first revision whose results may hold resource links; an older client may break on one."""


class Renderer:
    """Renders answers, and remembers what was told.

    Args:
        max_bytes: the longest that an answer may be, as JSON text.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._told: dict[str, Mapping[str, Json]] = {}
        """Tool name -> the output schema that its results did not fit."""

    def result(self, ctx: Context, tool: Tool, answer: Answer) -> CallToolResult:
        """Return the answer to a call of a tool, as the client's revision has it."""
        if answer.failure:
            told = [failure_text(answer.failure), *([SHARED] if answer.is_shared else [])]
            return error_result("\n\n".join(told))
        return call_result(
            tool,
            answer,
            max_bytes=self._max_bytes,
            has_links=ctx.protocol_version >= LINKS_SINCE,
            on_mismatch=partial(self._tell, tool, answer.run_id),
        )

    def _tell(self, tool: Tool, run_id: str, problem: str) -> None:
        """Log what is wrong with the results of a run, unless something was said of this declaration before."""
        if self._told.get(tool.name) == tool.output.wire:
            return
        self._told[tool.name] = tool.output.wire
        whose = "in the settings" if tool.entry.output_schema is not None else "in its doc_md"
        logger.warning(
            "dag %s, run %s: its results are not as its output_schema %s says: %s. Callers get them as "
            "unexpected_results; mend the one or the other. This is said once.",
            tool.dag_id,
            run_id,
            whose,
            problem,
        )
