"""Renders answers, and warns the operator about results that do not match their declared schema.

It warns once per tool definition, not per call; the caller gets the results all the same.
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
"""The first revision whose results may contain resource links; an older client may break on one."""


class Renderer:
    """Renders answers, and remembers its warnings.

    Args:
        max_bytes: maximum size of an answer, as JSON text.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._reported: dict[str, Mapping[str, Json]] = {}
        """Tool name -> the output schema that its results did not match."""

    def result(self, ctx: Context, tool: Tool, answer: Answer) -> CallToolResult:
        """Return the answer to a call of a tool, in the form of the client's revision."""
        if answer.failure:
            texts = [failure_text(answer.failure), *([SHARED] if answer.is_shared else [])]
            return error_result("\n\n".join(texts))
        return call_result(
            tool,
            answer,
            max_bytes=self._max_bytes,
            has_links=ctx.protocol_version >= LINKS_SINCE,
            on_mismatch=partial(self._tell, tool, answer.run_id),
        )

    def _tell(self, tool: Tool, run_id: str, problem: str) -> None:
        """Log the problem with the results of a run, unless this definition was already warned about."""
        if self._reported.get(tool.name) == tool.output.wire:
            return
        self._reported[tool.name] = tool.output.wire
        whose = "in the settings" if tool.entry.output_schema is not None else "in its doc_md"
        logger.warning(
            "dag %s, run %s: the results do not match the output_schema %s: %s. Callers get them as "
            "unexpected_results. Fix the dag or the schema. This is logged once.",
            tool.dag_id,
            run_id,
            whose,
            problem,
        )
