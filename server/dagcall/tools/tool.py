"""A dag and the operator's policy -> the tool on the wire.

Pure. Knows what a model should read and what clients demand of a tool; `input_schema` has the rules for schemas.
Nothing volatile goes into a tool, so that a definition pinned today is equal to the same definition tomorrow.
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
from dagcall.tools.naming import tool_name_from_dag_id
from dagcall.tools.output_schema import OutputSchema, cancel_output_schema, output_schema, part_output_schema
from dagcall.tools.policy import ToolPolicy

MAX_NAMED_OPTIONAL = 400
"""Characters of the names of optional arguments that the generated line has room for; the schema has them all."""
META_DAG_ID = "dagcall/dag_id"
WAIT_TOOL_NAME = "wait_for_dag_run"
CANCEL_TOOL_NAME = "cancel_dag_run"
READ_TOOL_NAME = "read_dag_result"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that the operator or the author says of a tool and that cannot be used."""

    what: str
    """`output_schema`, for one."""
    reason: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A published dag."""

    wire: WireTool
    dag: Dag
    """What it was made from."""
    input: InputSchema
    output: OutputSchema
    entry: ToolPolicy
    """What the operator says of it."""
    policy: ToolPolicy
    """What holds: the author's words count where the operator says nothing."""
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
        entry: what the operator says of it.
        refusal: why the author's block must not be used, where that is known.

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
    # Shown to nobody, and checked to take a text; each call puts its own caller's id there.
    identity = {} if policy.identity_param is None else {policy.identity_param: LOCAL.id}
    schema = InputSchema.from_params(dag.params, fixed=policy.fixed | identity, hidden=policy.hidden)
    annotations = policy.annotations
    wire = WireTool(
        name=policy.name or tool_name_from_dag_id(dag.dag_id),
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
        raise ToolUnpublishable(f"it could cost a client all of its tools: {objection}")
    return Tool(wire, dag, schema, output, entry, policy, tuple(left_out))


def _output(policy: ToolPolicy) -> tuple[OutputSchema, str | None]:
    """Return the output schema as declared; else one that fits every answer, and why the declared is no use."""
    problem = None
    if policy.output_schema is not None:
        try:
            return OutputSchema.from_declared(policy.output_schema, task_ids=policy.results), None
        except ToolUnpublishable as error:
            problem = str(error)
    return OutputSchema(output_schema()), problem


def own_tools() -> tuple[WireTool, ...]:
    """Return dagcall's own tools, which deal with runs that a call has started."""
    return (
        _own_tool(
            CANCEL_TOOL_NAME,
            "Cancel a dag run",
            "Stops a run that an earlier call started, by setting it to failed, unless it has ended. What its tasks "
            "have done by then stays done. Returns the state that the run has now.",
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
            "Reads results that were too large for one answer, part by part: an answer that has 'preview' in place of "
            "'results' names in 'omitted' what there is to read. It starts nothing. Where the part has 'next_offset', "
            "call it again with that as offset for the next one.",
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
                    "description": "What to read, as a JSON Pointer into the results, such as /task_id/rows/0; "
                    "without it, all results by task id",
                },
                "offset": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "Where to begin: at which item of a list, key of an object or character of a text",
                },
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "At most how many items, keys or characters; without it, as many as fit",
                },
            },
        ),
        _own_tool(
            WAIT_TOOL_NAME,
            "Wait for a dag run",
            "Waits for a run that an earlier call started and that answered with state 'running'. Returns what that "
            "call would have returned. It starts nothing; call it again as long as the state is 'running'. When the "
            "run asks a person, your user is asked where your client can do that, and the run gets their answer.",
            output_schema(),
            ToolAnnotations(
                title="Wait for a dag run",
                read_only_hint=False,  # it takes a person's answer to the run, which goes on with it
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
                "dag_run_id": {"type": "string", "description": "The dag_run_id of its answer"},
                **(more or {}),
            },
            "required": ["dag_run_id", "tool"],
            "additionalProperties": False,
        },
        output_schema=output,
        annotations=annotations,
    )


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
    said = visible(said).strip() or f"Runs the Airflow dag {visible(dag.dag_id)}."
    how = _how_to_call(schema)
    return f"{cut(said, MAX_TEXT - len(how) - 2)}\n\n{how}"


def _how_to_call(schema: InputSchema) -> str:
    waits = "The call runs the dag and waits for its result."
    if not schema.optional:
        return waits
    names = ", ".join(schema.optional)
    if len(names) > MAX_NAMED_OPTIONAL:
        names = f"{len(schema.optional)} of the {len(schema.properties)} arguments"
    return f"{waits} Optional: {names}; leave out what you were not given."
