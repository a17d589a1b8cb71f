"""The output schema of every tool, and the check of results against a declared one.

Pure. The only place that describes every key of an answer; `answers` fills them in.

A client that validates loses an answer that does not match, and a client that cannot compile an output schema loses the
whole list of tools. So a published schema requires only what was checked here, and uses only keywords that all
validators interpret alike: those of clients implement several drafts in several languages. Validators disagree about
`format` and `pattern`; these become text in the description.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

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
            "description": "JSON Pointer into the results, for read_dag_result",
        },
        "what": {"type": "string", "description": "What is omitted there; positions count from 0, like offset"},
    },
    "required": ["path", "what"],
}

MAX_ERRORS = 1000
"""How many errors are searched for the most informative one."""
_EXACT_NUMBERS: JsonObject = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "description": "Integers beyond 2^53 as text, by JSON Pointer: JavaScript rounds them in the results",
}
_RESULTS = "The return value of each result task, by task id"
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
"""Some validators ignore these, which inverts their meaning below `not` or `oneOf`."""


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """The output schema of a tool. Compiled once per tool definition."""

    wire: JsonObject
    """The output schema as clients get it."""
    checker: Checker | None = None
    """Validates `results`; None if no schema is declared for them."""

    @classmethod
    def from_declared(cls, declared: Mapping[str, Json], *, task_ids: tuple[str, ...] | None = None) -> Self:
        """Publish the operator's or the author's schema of the results.

        Args:
            declared: describes the object of results: task id -> value.
            task_ids: the result tasks, if they were named.

        Raises:
            ToolUnpublishable: the schema cannot be used; the message says why.
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
            raise ToolUnpublishable("the schema is nested too deeply or refers to itself without end") from None
        return cls(wire, checker)

    def problem(self, results: Mapping[str, Json]) -> str | None:
        """Return where results do not match the schema, e.g. `results.total: the value is not of type 'number'`.

        Leaves out the value, because the sentence also goes into logs.
        """
        if self.checker is None:
            return None
        try:
            error = best_match(self.checker.errors(dict(results), most=MAX_ERRORS))
        except (RecursionError, Uncheckable):
            return "results: nested too deeply or too large to validate"
        if error is None:
            return None
        return f"results{path_text(error)}: {shortened(error.message.replace(repr(error.instance), 'the value', 1))}"


def _require_sane(declared: Mapping[str, Json], task_ids: tuple[str, ...] | None) -> None:
    try:
        size = len(json.dumps(declared, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ToolUnpublishable("the schema contains a date, a time or a number that JSON cannot represent") from error
    if size > MAX_SCHEMA_BYTES:
        raise ToolUnpublishable(f"the schema is larger than {MAX_SCHEMA_BYTES:,} bytes")
    require_valid(declared, name="the schema")
    if declared.get("type", "object") != "object":
        raise ToolUnpublishable(
            "the schema describes the results by task id, so its type must be 'object', with a property per result task"
        )
    for name in declared.get("properties", {}):
        if task_ids and name not in task_ids:
            raise ToolUnpublishable(
                f"the schema has a property {name!r}, which is not a result task{did_you_mean(name, task_ids)}"
            )


def _as_read_alike(schema: JsonObject) -> JsonObject:
    """Keep the keywords that all validators interpret alike, and put the others into the description."""
    if ambiguous := sorted(_AMBIGUOUS_KEYS & schema.keys()):
        raise ToolUnpublishable(f"the schema uses {ambiguous[0]}, which MCP clients interpret differently")
    kept = {key: value for key, value in schema.items() if key in _KEPT_KEYS}
    if "prefixItems" in kept and "items" in kept:
        if kept.pop("items") is not False:
            raise ToolUnpublishable("the schema uses items with prefixItems, which MCP clients interpret differently")
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
        results: the declared schema of the results; None if any results are allowed.
    """
    schema: JsonObject = {
        "type": "object",
        "properties": {
            "state": {
                "type": "string",
                "enum": ["success", "running", "results_ready", "awaiting_input"],
                "description": (
                    "success: the run has succeeded. "
                    "running: the run continues; call wait_for_dag_run with this dag_run_id for its result. "
                    "results_ready: the results are final, while the rest of the run continues. "
                    "awaiting_input: a person must answer the questions, at their urls"
                ),
            },
            "dag_run_id": {"type": "string", "description": "The id of the run, to wait for it or cancel it"},
            "results": results or {"type": "object", "description": _RESULTS},
            "skipped": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Tasks that the dag skipped, so that their results are null",
            },
            "preview": {
                "type": "object",
                "description": "Instead of results that are too large: an excerpt of them",
            },
            "omitted": {"type": "array", "items": OMISSION, "description": "What preview omits"},
            "exact_numbers": _EXACT_NUMBERS,
            "size_bytes": {"type": "integer", "description": "Size of the results, as JSON text"},
            "url": {"type": "string", "description": "The run in Airflow's UI, for people"},
            "replayed": {
                "type": "boolean",
                "description": "true: this call repeats one whose answer was lost; its run had already ended",
            },
            "shared": {
                "type": "boolean",
                "description": "true: an identical call was already waiting for this run; both get its result",
            },
            "reused": {
                "type": "boolean",
                "description": "true: no run was started; the results are those of a recent call with the same "
                "arguments, as the operator configured",
            },
            "questions": {"type": "array", "items": {"type": "object"}, "description": "What a person must answer"},
            "message": {"type": "string", "description": "What to do next, if anything"},
        },
        "required": ["state", "dag_run_id", "url"],
    }
    if results is not None:
        schema["properties"]["unexpected_results"] = {
            "type": "object",
            "description": "Instead of results, if they do not match the declared schema",
        }
    return schema


def cancel_output_schema() -> JsonObject:
    """Return the schema of the answer of `cancel_dag_run`."""
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
    """Return the schema of the answer of `read_dag_result`."""
    return {
        "type": "object",
        "properties": {
            "value": {"description": "The value at the path, from offset on"},
            "offset": {"type": "integer"},
            "total": {"type": "integer", "description": "Number of items, characters or keys at the path"},
            "next_offset": {"type": "integer", "description": "The offset of the next part; missing in the last one"},
            "omitted": {
                "type": "array",
                "items": OMISSION,
                "description": "What this part omits, because one element alone is too large",
            },
            "exact_numbers": _EXACT_NUMBERS,
        },
        "required": ["value"],
    }
