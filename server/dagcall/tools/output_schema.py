"""What an answer looks like: the output schema of every tool, and the check of what it declares.

Pure. The one place that describes every key of an answer; `answers` fills them in.

A client that validates loses an answer that does not fit, and one that cannot compile an output schema loses the whole
list of tools. So what is published demands nothing that was not checked here, and is made of keywords that every
validator reads alike: the clients' are of several drafts and languages. `format` and `pattern`, about which those
disagree, become words of the description.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match

from dagcall.errors import ToolUnpublishable
from dagcall.plain_json import Json
from dagcall.text import did_you_mean, shortened
from dagcall.tools.json_schema import MAX_SCHEMA_BYTES, Definitions, cleaned, require_valid
from dagcall.tools.keywords import JsonObject
from dagcall.tools.validation import Checker, Uncheckable, path_text

OMISSION: JsonObject = {
    "type": "object",
    "properties": {
        "path": {
            "type": "string",
            "description": "Where, as a JSON Pointer into the results; read_dag_result takes it",
        },
        "what": {"type": "string", "description": "What is left out there, counted from 0 as offset is"},
    },
    "required": ["path", "what"],
}

MAX_ERRORS = 1000
"""Among so many the one is chosen that says most."""
_EXACT_NUMBERS: JsonObject = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "description": "Whole numbers beyond 2^53 digit by digit, by JSON Pointer: JavaScript rounds them where they stand",
}
_RESULTS = "What each result task returned, by task id"
_KEPT_KEYS = frozenset(
    {"type", "enum", "const", "properties", "required", "additionalProperties", "propertyNames", "minProperties"}
    | {"maxProperties", "items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems", "minLength"}
    | {"maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "anyOf", "oneOf"}
    | {"allOf", "not", "if", "then", "else", "$ref", "$defs", "definitions", "title", "description", "examples"}
    | {"default", "deprecated"}
)
_SAID_KEYS = {"format": "Format", "pattern": "Pattern"}
_AMBIGUOUS_KEYS = frozenset(
    {"patternProperties", "minContains", "maxContains", "dependencies", "dependentRequired", "dependentSchemas"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
"""Some validators ignore these, which turns them into their opposite below `not` or `oneOf`."""


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """What a tool returns. Compiled once per definition of the tool."""

    wire: JsonObject
    """The output schema on the wire."""
    checker: Checker | None = None
    """Checks `results`; None where nothing is declared of them."""

    @classmethod
    def from_declared(cls, declared: Mapping[str, Json], *, task_ids: tuple[str, ...] | None = None) -> Self:
        """Publish what the operator or the author says of the results.

        Args:
            declared: describes the object of results: task id -> value.
            task_ids: the result tasks, where they were named.

        Raises:
            ToolUnpublishable: the schema cannot be used, and why.
        """
        definitions = Definitions()
        try:
            _require_sane(declared, task_ids)
            found = cleaned(declared, owner="the schema", adapted=_as_read_alike)
            lifted = definitions.lifted(found, owner="the schema", name="results")
            results = {"type": "object", "description": _RESULTS, **lifted}
            checker = Checker.of(definitions.beside(results), Draft202012Validator)
            wire = definitions.beside(output_schema(results))
            require_valid(wire, name="the schema")
            checker.errors({}, most=1)
        except (RecursionError, Uncheckable):
            raise ToolUnpublishable("the schema is nested too deep, or refers to itself without end") from None
        return cls(wire, checker)

    def problem(self, results: Mapping[str, Json]) -> str | None:
        """Return where results are not as declared, e.g. `results.total: the value is not of type 'number'`.

        The value itself is not shown: the sentence goes into logs, too.
        """
        if self.checker is None:
            return None
        try:
            error = best_match(self.checker.errors(dict(results), most=MAX_ERRORS))
        except (RecursionError, Uncheckable):
            return "results: nested too deep to be checked, or too large"
        if error is None:
            return None
        return f"results{path_text(error)}: {shortened(error.message.replace(repr(error.instance), 'the value', 1))}"


def _require_sane(declared: Mapping[str, Json], task_ids: tuple[str, ...] | None) -> None:
    try:
        size = len(json.dumps(declared, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ToolUnpublishable("the schema holds a date, a time or a number that JSON does not know") from error
    if size > MAX_SCHEMA_BYTES:
        raise ToolUnpublishable(f"the schema is larger than {MAX_SCHEMA_BYTES:,} bytes")
    try:
        Draft202012Validator.check_schema(dict(declared))
    except SchemaError as error:
        raise ToolUnpublishable(f"the schema is not valid 2020-12: {shortened(error.message)}") from error
    if declared.get("type", "object") != "object":
        raise ToolUnpublishable(
            "the schema describes the results by task id, so its type is 'object', with a property for each result task"
        )
    for name in declared.get("properties", {}):
        if task_ids and name not in task_ids:
            raise ToolUnpublishable(
                f"the schema has a property {name!r}, which is no result task{did_you_mean(name, task_ids)}"
            )


def _as_read_alike(schema: JsonObject) -> JsonObject:
    """Keep the keywords that every validator reads alike, and say in words what some of them would check."""
    if ambiguous := sorted(_AMBIGUOUS_KEYS & schema.keys()):
        raise ToolUnpublishable(f"the schema uses {ambiguous[0]}, which MCP clients do not all read alike")
    kept = {key: value for key, value in schema.items() if key in _KEPT_KEYS}
    if "prefixItems" in kept and "items" in kept:
        if kept.pop("items") is not False:
            raise ToolUnpublishable("the schema uses items beside prefixItems, which MCP clients do not all read alike")
        kept["maxItems"] = min(len(kept["prefixItems"]), kept.get("maxItems", len(kept["prefixItems"])))
    said = [f"{word}: {schema[key]}." for key, word in _SAID_KEYS.items() if key in schema]
    if kept.get("type") == "array" and "prefixItems" not in kept:
        kept.setdefault("items", {})
    if said:
        kept["description"] = " ".join([str(kept["description"]), *said] if kept.get("description") else said)
    return kept


def output_schema(results: JsonObject | None = None) -> JsonObject:
    """Return the schema of every answer that is not an error.

    Args:
        results: what results are declared to be; None where they may be anything.
    """
    schema: JsonObject = {
        "type": "object",
        "properties": {
            "state": {
                "type": "string",
                "enum": ["success", "running", "results_ready", "awaiting_input"],
                "description": (
                    "running: the run goes on; wait_for_dag_run with its dag_run_id returns the rest. "
                    "results_ready: these are the results, while the rest of the run goes on. "
                    "awaiting_input: the run waits for a person to answer the questions at their urls"
                ),
            },
            "dag_run_id": {"type": "string", "description": "The run in Airflow, and the handle to wait for it"},
            "results": results or {"type": "object", "description": _RESULTS},
            "skipped": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Which results are null because the dag skipped their tasks",
            },
            "preview": {
                "type": "object",
                "description": "In place of results that are too large: the same, with much left out",
            },
            "omitted": {"type": "array", "items": OMISSION, "description": "What preview leaves out"},
            "exact_numbers": _EXACT_NUMBERS,
            "size_bytes": {"type": "integer", "description": "How large the results are, as JSON text"},
            "url": {"type": "string", "description": "The run in Airflow's UI, for people"},
            "replayed": {
                "type": "boolean",
                "description": "true: the run had ended before this call, which repeats one whose answer was lost",
            },
            "shared": {
                "type": "boolean",
                "description": "true: an identical call had been waiting for this run already, and both got it",
            },
            "reused": {
                "type": "boolean",
                "description": "true: no run was started; these are the results of a recent call with the same "
                "arguments, as the operator of this tool decided",
            },
            "questions": {"type": "array", "items": {"type": "object"}, "description": "What the run asks a person"},
            "message": {"type": "string", "description": "What to do next, where there is something to do"},
        },
        "required": ["state", "dag_run_id", "url"],
    }
    if results is not None:
        schema["properties"]["unexpected_results"] = {
            "type": "object",
            "description": "In place of results, where what the tasks returned is not what results is declared to be",
        }
    return schema


def cancel_output_schema() -> JsonObject:
    """Return the schema of what a cancelled run's caller is told."""
    return {
        "type": "object",
        "properties": {
            "state": {"type": "string", "enum": ["failed", "queued", "running", "success"]},
            "dag_run_id": {"type": "string"},
            "url": {"type": "string", "description": "The run in Airflow's UI, for people"},
        },
        "required": ["state", "dag_run_id", "url"],
    }


def part_output_schema() -> JsonObject:
    """Return the schema of a part of results."""
    return {
        "type": "object",
        "properties": {
            "value": {"description": "What is at the path, from offset on"},
            "offset": {"type": "integer"},
            "total": {"type": "integer", "description": "How many items, characters or keys there are at the path"},
            "next_offset": {"type": "integer", "description": "Where the next part begins; missing after the last"},
            "omitted": {
                "type": "array",
                "items": OMISSION,
                "description": "What is left out within this part, of a piece that is too large by itself",
            },
            "exact_numbers": _EXACT_NUMBERS,
        },
        "required": ["value"],
    }
