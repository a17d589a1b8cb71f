"""A dag and the operator's policy -> the tool on the wire.

Pure. Knows what a model should read and what clients require of a tool; `input_schema` has the rules for schemas.
A tool contains nothing volatile, so that a definition pinned today equals the same definition tomorrow.
"""

from dataclasses import dataclass
from typing import Any

from mcp_types import Tool as WireTool
from mcp_types import ToolAnnotations

from dagcall.airflow import Dag
from dagcall.auth import LOCAL
from dagcall.errors import ToolUnpublishable
from dagcall.plain_json import Json
from dagcall.text import cut, visible
from dagcall.tools.client_limits import MAX_TEXT, objections
from dagcall.tools.doc_block import NOTHING_SAID, WordsUnusable, doc_block, effective_policy
from dagcall.tools.input_schema import InputSchema
from dagcall.tools.markdown import first_paragraph
from dagcall.tools.output_schema import OutputSchema, cancel_output_schema, output_schema, part_output_schema
from dagcall.tools.policy import ToolPolicy

MAX_NAMED_OPTIONAL = 400
"""Maximum characters of optional argument names in the generated line; the schema lists all of them."""
META_DAG_ID = "dagcall/dag_id"
WAIT_TOOL_NAME = "wait_for_dag_run"
CANCEL_TOOL_NAME = "cancel_dag_run"
READ_TOOL_NAME = "read_dag_result"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part of the operator's or the author's definition of a tool that cannot be used."""

    what: str
    """For example `output_schema`."""
    reason: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A published dag."""

    wire: WireTool
    dag: Dag
    """The dag that the tool was made from."""
    input: InputSchema
    output: OutputSchema
    entry: ToolPolicy
    """The operator's entry."""
    policy: ToolPolicy
    """The effective policy: the author's values apply where the operator sets none."""
    left_out: tuple[LeftOut, ...] = ()

    @property
    def name(self) -> str:
        """The name that callers use."""
        return self.wire.name

    @property
    def dag_id(self) -> str:
        """The dag that a call runs."""
        return self.dag.dag_id


def tool_from_dag(dag: Dag, entry: ToolPolicy, *, refusal: str | None = None) -> Tool:
    """Make the tool of a dag.

    Args:
        dag: the dag.
        entry: the operator's entry.
        refusal: why the author's block must not be used, if it must not.

    Raises:
        ToolUnpublishable: its params cannot be published, the policy does not fit them, or clients would refuse it.
    """
    left_out: list[LeftOut] = []
    try:
        words = NOTHING_SAID if refusal else doc_block(dag.doc_md)
    except WordsUnusable as error:
        words, refusal = NOTHING_SAID, str(error)
    if refusal:
        left_out.append(LeftOut("the dagcall block in its doc_md", refusal))
    policy = effective_policy(entry, words)
    output, problem = _output(policy)
    if problem:
        left_out.append(LeftOut("its output_schema" if entry.output_schema else "its author's output_schema", problem))
    # Hidden from callers, and checked to accept text: each call fills in its caller's id.
    identity = {} if policy.identity_param is None else {policy.identity_param: LOCAL.id}
    schema = InputSchema.from_params(dag.params, fixed=policy.fixed | identity, hidden=policy.hidden)
    annotations = policy.annotations
    wire = WireTool(
        name=policy.tool_name(dag.dag_id),
        title=visible(policy.title or dag.display_name),
        description=_description(dag, policy, schema),
        input_schema=schema.wire,
        output_schema=output.wire,
        annotations=ToolAnnotations(
            title=visible(policy.title or dag.display_name),
            read_only_hint=annotations.read_only,
            destructive_hint=annotations.destructive and not annotations.read_only,
            idempotent_hint=annotations.idempotent,
            open_world_hint=annotations.open_world,
        ),
        _meta={META_DAG_ID: dag.dag_id},
    )
    if objection := next(objections(wire_json(wire)), None):
        raise ToolUnpublishable(f"it could make a client lose all its tools: {objection}")
    return Tool(wire, dag, schema, output, entry, policy, tuple(left_out))


def _output(policy: ToolPolicy) -> tuple[OutputSchema, str | None]:
    """Return the declared output schema; if it is unusable, one that fits every answer, and the reason."""
    problem = None
    if policy.output_schema is not None:
        try:
            return OutputSchema.from_declared(policy.output_schema, task_ids=policy.results), None
        except ToolUnpublishable as error:
            problem = str(error)
    return OutputSchema(output_schema()), problem


def own_tools() -> tuple[WireTool, ...]:
    """Return dagcall's own tools, for runs that earlier calls started."""
    return (
        _own_tool(
            CANCEL_TOOL_NAME,
            "Cancel a dag run",
            "Cancels a run that an earlier call started, by setting it to failed, unless it has ended. What its "
            "tasks have already done is not undone. Returns the current state of the run.",
            cancel_output_schema(),
            ToolAnnotations(
                title="Cancel a dag run",
                read_only_hint=False,
                destructive_hint=True,
                idempotent_hint=True,
                open_world_hint=False,
            ),
        ),
        _own_tool(
            READ_TOOL_NAME,
            "Read results of a dag run",
            "Reads results that were too large for one answer, in parts. An answer with 'preview' instead of "
            "'results' lists in 'omitted' what can be read. Starts no run. If the answer has 'next_offset', call "
            "again with it as offset to get the next part.",
            part_output_schema(),
            ToolAnnotations(
                title="Read results of a dag run",
                read_only_hint=True,
                destructive_hint=False,
                idempotent_hint=True,
                open_world_hint=False,
            ),
            more={
                "path": {
                    "type": "string",
                    "description": "What to read: a JSON Pointer into the results, such as /task_id/rows/0. "
                    "Default: all results, by task id",
                },
                "offset": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "Where to start: the index of a list item, an object key or a character of text",
                },
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "Maximum number of items, keys or characters. Default: as many as fit",
                },
            },
        ),
        _own_tool(
            WAIT_TOOL_NAME,
            "Wait for a dag run",
            "Waits for a run that an earlier call started and that was still running, and returns what that call "
            "would have returned. Starts no run. While the state is 'running', call it again. If the run needs a "
            "person's input and your client can ask its user, the user is asked and the run gets the answer.",
            output_schema(),
            ToolAnnotations(
                title="Wait for a dag run",
                read_only_hint=False,  # it can send a person's answer to the run
                destructive_hint=False,
                idempotent_hint=True,
                open_world_hint=True,
            ),
        ),
    )


def _own_tool(
    name: str,
    title: str,
    description: str,
    output: dict[str, Json],
    annotations: ToolAnnotations,
    *,
    more: dict[str, Json] | None = None,
) -> WireTool:
    return WireTool(
        name=name,
        title=title,
        description=description,
        input_schema={
            "type": "object",
            "properties": {
                "tool": {"type": "string", "description": "The name of the tool that started the run"},
                "dag_run_id": {"type": "string", "description": "The dag_run_id in that tool's answer"},
                **(more or {}),
            },
            "required": ["dag_run_id", "tool"],
            "additionalProperties": False,
        },
        output_schema=output,
        annotations=annotations,
    )


def wire_json(tool: WireTool) -> dict[str, Any]:
    """Return the tool as clients get it."""
    return tool.model_dump(mode="json", by_alias=True, exclude_none=True)


def _description(dag: Dag, policy: ToolPolicy, schema: InputSchema) -> str:
    """Return the description: the operator's or the author's text, then how to call the tool."""
    said = written_description(dag, policy) or f"Runs the Airflow dag {visible(dag.dag_id)}."
    how = _how_to_call(schema)
    return f"{cut(said, MAX_TEXT - len(how) - 2)}\n\n{how}"


def written_description(dag: Dag, policy: ToolPolicy) -> str:
    """Return the operator's or the author's text in full; empty if there is none."""
    if policy.description:
        said = policy.description
    else:
        lead, paragraph = (dag.description or "").strip(), first_paragraph(dag.doc_md or "")
        said = lead if paragraph in lead else f"{lead}\n\n{paragraph}".strip()
    return visible(said).strip()


def _how_to_call(schema: InputSchema) -> str:
    waits = "The call runs the dag and waits for its result."
    if not schema.optional:
        return waits
    names = ", ".join(schema.optional)
    if len(names) > MAX_NAMED_OPTIONAL:
        names = f"{len(schema.optional)} of the {len(schema.properties)} arguments"
    return f"{waits} Optional: {names}. Omit values that you were not given."
