"""Tells the operator that a tool's results are not as they are declared.

Once for each definition of a tool, not for each call: the call itself has its results all the same.
"""

import logging
from collections.abc import Mapping

from dagcall.plain_json import Json
from dagcall.tools import Tool

logger = logging.getLogger(__name__)


class Mismatches:
    """Remembers what was told."""

    def __init__(self) -> None:
        self._told: dict[str, Mapping[str, Json]] = {}
        """Tool name -> the output schema that its results did not fit."""

    def tell(self, tool: Tool, run_id: str, problem: str) -> None:
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
