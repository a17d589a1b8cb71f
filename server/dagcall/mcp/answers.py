"""An answer -> the MCP result of a call.

Pure. The same JSON is sent as text, for models, and as structured content, for programs. Results that are too large are
never cut: an answer has either the whole `results`, or a `preview` with what it omits and how to read the rest.
"""

from collections.abc import Callable

from mcp import UriTemplate
from mcp_types import CallToolResult, ContentBlock, ResourceLink, TextContent

from dagcall.plain_json import Json
from dagcall.results import PREVIEW_SHARE, Page, exact_numbers, json_size, json_text, preview_of
from dagcall.runs import MAX_QUESTIONS, SHARED, Answer, question_json, waiting_message
from dagcall.text import visible
from dagcall.tools import READ_TOOL_NAME, WAIT_TOOL_NAME, Tool

RESULTS_URI = UriTemplate.parse("dagcall://runs/{tool}/{dag_run_id}/results{?path,offset,limit}")
"""The results of a run as a resource: all of them, or the value at a path."""
JSON_TYPE = "application/json"
MAX_SKIPPED = 20
"""A mapped task may have thousands of skipped instances; the rest is counted."""


def call_result(
    tool: Tool,
    answer: Answer,
    *,
    max_bytes: int,
    has_links: bool = True,
    on_mismatch: Callable[[str], None] = lambda _: None,
) -> CallToolResult:
    """Return the result of a call of a dag's tool, or of a call that waits for its run.

    Args:
        tool: the called tool.
        answer: the outcome.
        max_bytes: maximum size of the answer, as JSON text.
        has_links: whether the client supports resource links, as from 2025-06-18 on.
        on_mismatch: called with the reason if results do not match the declared schema. Previews are not checked.
    """
    if answer.results is None:
        return _result(_unfinished(tool, answer))
    state = "success" if answer.state.is_final else "results_ready"
    results = dict(answer.results)
    content = _content(answer, state, results=results)
    text = json_text(content)
    exact = _exact(results, text)
    if exact:
        content = _content(answer, state, results=results, **exact)
        text = json_text(content)
    if len(text.encode()) > max_bytes:
        return _preview_result(tool, answer, state, max_bytes, has_links=has_links)
    if problem := tool.output.problem(results):
        on_mismatch(problem)
        message = (
            "The results are complete, but do not match this tool's output schema, so they are in unexpected_results: "
            f"{visible(problem)}"
        )
        return _result(_content(answer, state, unexpected_results=results, message=message, **exact))
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=content)


def _unfinished(tool: Tool, answer: Answer) -> dict[str, Json]:
    if answer.questions:
        how_to_go_on = f"Then call {WAIT_TOOL_NAME} with tool {tool.name!r} and this dag_run_id for its result."
        message = waiting_message(answer.questions, how_to_go_on=how_to_go_on, notice=answer.notice)
        questions = [question_json(question) for question in answer.questions[:MAX_QUESTIONS]]
        return _content(answer, "awaiting_input", questions=questions, message=message)
    goes_on = visible(": ".join(filter(None, (answer.state.value, answer.progress_text))))
    message = (
        f"The run goes on ({goes_on}). Call {WAIT_TOOL_NAME} with tool {tool.name!r} and this dag_run_id for its "
        "result."
    )
    return _content(answer, "running", message=message)


def _content(answer: Answer, state: str, **found: Json) -> dict[str, Json]:
    names, more = answer.skipped[:MAX_SKIPPED], len(answer.skipped) - MAX_SKIPPED
    skipped = {"skipped": [*names, *([f"and {more:,} more"] if more > 0 else [])]} if names else {}
    flags = {"replayed": answer.is_replayed, "reused": answer.is_reused, "shared": answer.is_shared}
    details: dict[str, Json] = {name: True for name, is_so in flags.items() if is_so}
    if answer.is_shared:
        details["message"] = " ".join(filter(None, (found.pop("message", ""), SHARED)))
    return {"state": state, "dag_run_id": answer.run_id, **found, **skipped, **details, "url": answer.url}


def _preview_result(tool: Tool, answer: Answer, state: str, max_bytes: int, *, has_links: bool) -> CallToolResult:
    results = dict(answer.results or {})
    size = json_size(results)
    shown = preview_of(results, max_bytes=max_bytes // PREVIEW_SHARE)
    more_than = "more than" if size > max_bytes else "and with exact_numbers more than"
    message = (
        f"The results are {size:,} bytes of JSON, {more_than} the limit of {max_bytes:,} for one answer: preview is "
        "an excerpt, and omitted lists what it leaves out. To read the rest in parts, call "
        f"{READ_TOOL_NAME} with tool {tool.name!r}, this dag_run_id and a path such as {shown.omitted[0]['path']!r}."
    )
    more = {"size_bytes": size, "message": message, **_exact(shown.value)}
    content = _content(answer, state, preview=shown.value, omitted=list(shown.omitted), **more)
    link = ResourceLink(
        name=f"{tool.name} results",
        title=f"Results of {tool.name}",
        uri=RESULTS_URI.expand({"tool": tool.name, "dag_run_id": answer.run_id}),
        description=f"The results of run {answer.run_id}; read them in parts.",
        mime_type=JSON_TYPE,
        size=size,
    )
    return _result(content, *([link] if has_links else []))


def _exact(results: Json, text: str | None = None) -> dict[str, Json]:
    exact = exact_numbers(results, text=text)
    return {"exact_numbers": exact} if exact else {}


def part_result(part: Page) -> CallToolResult:
    """Return the result of a call that reads a part of results."""
    return _result(part.as_json())


def _result(content: dict[str, Json], *links: ContentBlock) -> CallToolResult:
    text = TextContent(type="text", text=json_text(content))
    return CallToolResult(content=[text, *links], structured_content=content)


def cancel_result(answer: Answer) -> CallToolResult:
    """Return the result of a call that cancels a run."""
    return _result({"state": answer.state.value, "dag_run_id": answer.run_id, "url": answer.url})


def error_result(text: str) -> CallToolResult:
    """Return the result of a call that failed."""
    return CallToolResult(is_error=True, content=[TextContent(type="text", text=visible(text))])
