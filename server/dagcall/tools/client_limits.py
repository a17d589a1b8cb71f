"""What each client refuses. Most of it costs a client its whole list of tools, not one tool.

Pure. `naming` avoids it in names, `shapes` in schemas, `tool` in descriptions; `objections` reports what remains, so
that a tool that would take the others down is withheld. Found by listing and calling tools with LangChain
(langchain-mcp-adapters 0.3), CrewAI (crewai-tools 1.15), LlamaIndex (llama-index-tools-mcp 0.6), Semantic Kernel 1.45,
Agent Framework (agent-framework-core 1.23) and mcpo 0.0.20, and in public reports.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from dagcall.plain_json import Json
from dagcall.text import text_length
from dagcall.tools.keywords import DEFINITIONS, JsonObject, referred_to, subschemas
from dagcall.tools.patterns import common_pattern

TOOL_NAME_LENGTH = 50
"""Claude Desktop and OpenAI allow 64 characters, including a prefix such as `mcp__airflow__`."""
PROPERTY_NAME_LENGTH = 64
MAX_TEXT = 1024
"""UTF-16 units of a description: OpenAI refuses longer ones; other clients cut them."""
PUBLISHED_FORMATS = frozenset({"date", "date-time"})
"""Every other `format` differs between clients, or needs a package that a client may lack."""

_OF_PYDANTIC = frozenset(
    {"model_config", "model_dump", "model_dump_json", "model_validate", "model_validate_json", "model_validate_strings"}
    | {"model_copy", "model_construct", "model_fields", "model_fields_set", "model_computed_fields", "model_extra"}
    | {"model_json_schema", "model_parametrized_name", "model_post_init", "model_rebuild"}
)
RESERVED_ARGUMENTS: Mapping[str, frozenset[str]] = {
    "every client in Python": frozenset({"self", "cls"}),
    "clients that make pydantic models (CrewAI, LlamaIndex, mcpo)": _OF_PYDANTIC,
    "LangChain": frozenset({"config", "run_manager", "callbacks", "runtime"}),
    "Semantic Kernel": frozenset({"kernel", "service", "execution_settings", "arguments", "tool_name"}),
    "Agent Framework": frozenset(
        {"ctx", "chat_options", "tools", "tool_choice", "session", "thread", "conversation_id", "options"}
        | {"response_format", "tool_name"}
    ),
}
"""Names that clients use themselves: some refuse such a tool, others call it without the argument."""
_RESERVED = frozenset().union(*RESERVED_ARGUMENTS.values())

_TOOL_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_-]{{0,{TOOL_NAME_LENGTH - 1}}}")
_ARGUMENT_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_-]{{0,{PROPERTY_NAME_LENGTH - 1}}}")


def is_tool_name(name: str) -> bool:
    """Return whether every client accepts a tool of this name."""
    return _TOOL_NAME.fullmatch(name) is not None


def is_argument_name(name: str) -> bool:
    """Return whether every client accepts an argument of this name and passes it on."""
    return _ARGUMENT_NAME.fullmatch(name) is not None and name not in _RESERVED


def is_key(name: str) -> bool:
    """Return whether every client accepts an object with this key in an argument."""
    return not name.startswith("_") and name not in _OF_PYDANTIC


@dataclass(frozen=True, slots=True)
class Rule:
    """Something in a schema that some clients refuse."""

    clients: str
    what: str
    is_met: Callable[[JsonObject], bool]
    is_about_values: bool = False
    """Whether the rule applies only where a client makes a value from a schema, not below `not` or `if`."""


_VALUE_KEYS = frozenset(
    {"properties", "patternProperties", "additionalProperties", "items", "prefixItems", "anyOf", "oneOf", "allOf"}
    | {"$defs"}
)

RULES = (
    Rule(
        "Gemini CLI, Claude Code",
        "a schema without a type",
        lambda schema: bool({"type", "anyOf", "oneOf", "allOf", "$ref"} & schema.keys()),
        is_about_values=True,
    ),
    Rule("Semantic Kernel, Gemini", "a list of types", lambda schema: isinstance(schema.get("type", ""), str)),
    Rule(
        "OpenAI, Gemini, VS Code",
        "an array without items",
        lambda schema: schema.get("type") != "array" or isinstance(schema.get("items"), Mapping),
    ),
    Rule(
        "CrewAI, OpenAI, ajv",
        "a regular expression that engines interpret differently",
        lambda schema: all(common_pattern(pattern) == pattern for pattern in _patterns(schema)),
    ),
    Rule(
        "CrewAI, ajv",
        "a format that needs a package or differs between clients",
        lambda schema: schema.get("format", "date") in PUBLISHED_FORMATS,
    ),
    Rule(
        "mcpo, Kimi",
        "a reference to something other than a definition at the root",
        lambda schema: re.fullmatch(r"[^/]+", schema.get("$ref", "x").removeprefix(DEFINITIONS)) is not None,
    ),
    Rule(
        "Claude Desktop and others",
        "another dialect, or a name for a place in the schema",
        lambda schema: (
            not {"$schema", "$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "definitions"} & schema.keys()
        ),
    ),
    Rule(
        "CrewAI, mcpo",
        "a key of an object that begins with _ or is one of pydantic's own names",
        lambda schema: all(map(is_key, schema.get("properties", {}))),
    ),
    Rule(
        "OpenAI",
        f"a description of more than {MAX_TEXT:,} characters",
        lambda schema: text_length(str(schema.get("description", ""))) <= MAX_TEXT,
    ),
)


def objections(tool: Mapping[str, Json]) -> Iterator[str]:
    """Yield what some client refuses in a tool; each is a clause that names the client."""
    schema = tool["inputSchema"]
    if not is_tool_name(tool["name"]):
        yield f"Gemini and others refuse its name {tool['name']!r}"
    if text_length(tool["description"]) > MAX_TEXT:
        yield f"OpenAI refuses a description of more than {MAX_TEXT:,} characters"
    if schema.get("type") != "object" or "properties" not in schema or {"anyOf", "oneOf", "allOf"} & schema.keys():
        yield "Claude and OpenAI refuse an input schema that is not a plain object"
    for name in schema.get("properties", {}):
        if not is_argument_name(name):
            yield f"some client refuses or drops an argument named {name!r}"
    if _has_loop(schema):
        yield "LlamaIndex and mcpo follow circular references without end"
    for inner, is_value in _schemas_in(schema):
        if isinstance(inner, Mapping):
            rules = (rule for rule in RULES if is_value or not rule.is_about_values)
            yield from (f"{rule.clients}: refuses {rule.what}" for rule in rules if not rule.is_met(dict(inner)))
        elif is_value:
            yield "Gemini refuses true or false instead of a schema"


def _schemas_in(schema: Mapping[str, Json], *, is_value: bool = True) -> Iterator[tuple[Json, bool]]:
    """Yield the nested schemas of a schema, each with whether a client makes values from it."""
    for key, inner in subschemas(schema):
        is_open = key == "additionalProperties" and not isinstance(inner, Mapping)
        is_inner_value = is_value and key in _VALUE_KEYS and not is_open
        yield inner, is_inner_value
        if isinstance(inner, Mapping):
            yield from _schemas_in(inner, is_value=is_inner_value)


def _has_loop(schema: Mapping[str, Json]) -> bool:
    definitions = schema.get("$defs", {})
    left = {name: set(referred_to(inner)) for name, inner in definitions.items()}
    while ends := [name for name, others in left.items() if not others & left.keys()]:
        for name in ends:
            del left[name]
    return bool(left)


def _patterns(schema: JsonObject) -> Iterator[str]:
    if "pattern" in schema:
        yield schema["pattern"]
    yield from schema.get("patternProperties", {})
