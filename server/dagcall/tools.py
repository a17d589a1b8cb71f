"""A dag and the operator's policy -> the tool on the wire.

Pure. Knows what a model should read and what clients demand of a tool; the rules for schemas are `schemas`' business.
Nothing volatile goes into a tool, so that a definition pinned today is equal to the same definition tomorrow.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from mcp_types import Tool as WireTool
from mcp_types import ToolAnnotations

from dagcall.model import Dag, Json
from dagcall.naming import tool_name_from_dag_id
from dagcall.policy import ToolPolicy
from dagcall.schemas import InputSchema

MAX_DESCRIPTION = 1000
"""Characters taken from the operator or the author, before the generated line."""
META_DAG_ID = "dagcall/dag_id"
WAIT_TOOL_NAME = "wait_for_dag_run"
CANCEL_TOOL_NAME = "cancel_dag_run"


@dataclass(frozen=True, slots=True)
class Tool:
    """A published dag."""

    wire: WireTool
    dag: Dag
    """What it was made from."""
    input: InputSchema
    policy: ToolPolicy

    @property
    def name(self) -> str:
        """The name that callers use."""
        return self.wire.name

    @property
    def dag_id(self) -> str:
        """The dag that a call runs."""
        return self.dag.dag_id


def tool_from_dag(dag: Dag, policy: ToolPolicy) -> Tool:
    """Make the tool of a dag.

    Raises:
        ToolUnpublishable: its params cannot be published, or the policy does not fit them.
    """
    schema = InputSchema.from_params(dag.params, fixed=policy.fixed, hidden=policy.hidden)
    annotations = policy.annotations
    wire = WireTool(
        name=policy.name or tool_name_from_dag_id(dag.dag_id),
        title=visible(policy.title or dag.display_name),
        description=_description(dag, policy, schema),
        input_schema=visible_texts(schema.wire),
        output_schema=output_schema(),
        annotations=ToolAnnotations(
            title=visible(policy.title or dag.display_name),
            read_only_hint=annotations.read_only,
            destructive_hint=annotations.destructive and not annotations.read_only,
            idempotent_hint=annotations.idempotent,
            open_world_hint=annotations.open_world,
        ),
        _meta={META_DAG_ID: dag.dag_id},
    )
    return Tool(wire, dag, schema, policy)


def output_schema() -> dict[str, Json]:
    """Return the schema of every answer that is not an error."""
    return {
        "type": "object",
        "properties": {
            "state": {
                "type": "string",
                "enum": ["success", "running"],
                "description": "running: the run goes on; wait_for_dag_run with its dag_run_id returns the rest",
            },
            "dag_run_id": {"type": "string", "description": "The run in Airflow, and the handle to wait for it"},
            "results": {"type": "object", "description": "What each result task returned, by task id"},
            "url": {"type": "string", "description": "The run in Airflow's UI, for people"},
            "replayed": {
                "type": "boolean",
                "description": "true: the run had ended before this call, which repeats one whose answer was lost",
            },
            "message": {"type": "string", "description": "What to do next, where there is something to do"},
        },
        "required": ["state", "dag_run_id", "url"],
    }


def own_tools() -> tuple[WireTool, ...]:
    """Return dagcall's own tools, which deal with runs that a call has started."""
    return (
        _own_tool(
            CANCEL_TOOL_NAME,
            "Cancel a dag run",
            "Stops a run that an earlier call started, by setting it to failed, unless it has ended. What its tasks "
            "have done by then stays done. Returns the state that the run has now.",
            _cancel_output_schema(),
            ToolAnnotations(
                title="Cancel a dag run",
                read_only_hint=False,
                destructive_hint=True,
                idempotent_hint=True,
                open_world_hint=False,
            ),
        ),
        _own_tool(
            WAIT_TOOL_NAME,
            "Wait for a dag run",
            "Waits for a run that an earlier call started and that answered with state 'running'. Returns what that "
            "call would have returned. It starts nothing; call it again as long as the state is 'running'.",
            output_schema(),
            ToolAnnotations(
                title="Wait for a dag run",
                read_only_hint=True,
                destructive_hint=False,
                idempotent_hint=True,
                open_world_hint=False,
            ),
        ),
    )


def _own_tool(
    name: str, title: str, description: str, output: dict[str, Json], annotations: ToolAnnotations
) -> WireTool:
    return WireTool(
        name=name,
        title=title,
        description=description,
        input_schema={
            "type": "object",
            "properties": {
                "tool": {"type": "string", "description": "The name of the tool that started the run"},
                "dag_run_id": {"type": "string", "description": "The dag_run_id of its answer"},
            },
            "required": ["dag_run_id", "tool"],
            "additionalProperties": False,
        },
        output_schema=output,
        annotations=annotations,
    )


def _cancel_output_schema() -> dict[str, Json]:
    return {
        "type": "object",
        "properties": {
            "state": {"type": "string", "enum": ["failed", "queued", "running", "success"]},
            "dag_run_id": {"type": "string"},
            "url": {"type": "string", "description": "The run in Airflow's UI, for people"},
        },
        "required": ["state", "dag_run_id", "url"],
    }


def wire_json(tool: WireTool) -> dict[str, Any]:
    """Return the tool exactly as it goes over the wire."""
    return tool.model_dump(mode="json", by_alias=True, exclude_none=True)


def _description(dag: Dag, policy: ToolPolicy, schema: InputSchema) -> str:
    """Return what the model reads: the operator's words or the author's, then how to call it."""
    if policy.description:
        said = policy.description
    else:
        lead, paragraph = (dag.description or "").strip(), first_paragraph(dag.doc_md or "")
        said = lead if paragraph in lead else f"{lead}\n\n{paragraph}".strip()
    said = visible(said).strip() or f"Runs the Airflow dag {dag.dag_id}."
    if len(said) > MAX_DESCRIPTION:
        said = said[: MAX_DESCRIPTION - 1].rsplit(" ", 1)[0] + "…"
    return f"{said}\n\n{_how_to_call(schema)}"


def _how_to_call(schema: InputSchema) -> str:
    waits = "The call runs the dag and waits for its result."
    if not schema.optional:
        return waits
    return f"{waits} Optional: {', '.join(schema.optional)}; leave out what you were not given."


def first_paragraph(markdown: str) -> str:
    """Return the first paragraph of a Markdown text as plain text; headings, lists and code before it are skipped."""
    tokens = MarkdownIt().parse(markdown)
    for opening, inline in pairwise(tokens):
        if opening.type == "paragraph_open" and opening.level == 0:
            parts = (
                "\n" if child.type in {"softbreak", "hardbreak"} else child.content for child in inline.children or ()
            )
            return " ".join("".join(parts).split())
    return ""


def visible(text: str) -> str:
    """Drop the characters that a reviewer cannot see and a model can read: controls, direction marks, tags.

    Unicode's categories Cc (but for line breaks and tabs), Cf, Cs, Co and Cn.
    """
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn"})


def visible_texts(schema: Mapping[str, Json]) -> dict[str, Json]:
    """Return a schema whose titles and descriptions hold only visible characters; values stay as they are."""
    cleaned: dict[str, Json] = {}
    for key, value in schema.items():
        if key in {"title", "description"} and isinstance(value, str):
            cleaned[key] = visible(value)
        elif key in {"enum", "const", "default", "examples"}:
            cleaned[key] = value
        elif isinstance(value, Mapping):
            cleaned[key] = visible_texts(value)
        elif isinstance(value, list):
            cleaned[key] = [visible_texts(item) if isinstance(item, Mapping) else item for item in value]
        else:
            cleaned[key] = value
    return cleaned
