"""What a call came to, and how that reads on the wire.

Pure. The same JSON goes as text, for models, and as structured content, for programs.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from mcp_types import CallToolResult, TextContent

from dagcall.model import Json, RunState
from dagcall.tools import WAIT_TOOL_NAME, Tool

MAX_RESULT_BYTES = 400_000
"""JSON travels twice, as text and as structured content, and Python clients break off an answer above 1 MiB."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to, other than an error."""

    state: RunState
    """`success`, or the state in which the run was left."""
    run_id: str
    url: str
    results: Mapping[str, Json] | None = None
    """Task id -> plain JSON; None while the run goes on."""
    is_replayed: bool = False
    """Whether the run had ended before this call came."""


def call_result(tool: Tool, answer: Answer) -> CallToolResult:
    """Return the answer to a call of a dag's tool, or to one that waits for its run."""
    content: dict[str, Json] = {"state": answer.state.value, "dag_run_id": answer.run_id}
    if answer.results is None:
        content["state"] = "running"
        content["message"] = (
            f"The run goes on ({answer.state.value}). Call {WAIT_TOOL_NAME} with tool {tool.name!r} and this "
            "dag_run_id for its result."
        )
    else:
        content["results"] = dict(answer.results)
    if answer.is_replayed:
        content["replayed"] = True
    content["url"] = answer.url
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    size = len(text.encode())
    if size > MAX_RESULT_BYTES:
        del content["results"]
        content["message"] = (
            f"The dag succeeded, but its results are {size:,} bytes of JSON and at most {MAX_RESULT_BYTES:,} can be "
            "handed over. They can be read in Airflow at the url; let the dag return less, or name other result tasks."
        )
        text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=content)


def cancel_result(answer: Answer) -> CallToolResult:
    """Return the answer to a call that cancels a run."""
    content = {"state": answer.state.value, "dag_run_id": answer.run_id, "url": answer.url}
    return CallToolResult(content=[TextContent(type="text", text=json.dumps(content))], structured_content=content)


def error_result(text: str) -> CallToolResult:
    """Return the answer to a call that came to nothing."""
    return CallToolResult(is_error=True, content=[TextContent(type="text", text=text)])
