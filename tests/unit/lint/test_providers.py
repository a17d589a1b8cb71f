"""What dagcall publishes fits what providers document: names, number of tools, time-outs of clients.

The patterns and numbers here are transcribed from the pages in `PROVIDERS`, independently of that table.
"""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from dagcall.airflow import Param
from dagcall.errors import ToolUnpublishable
from dagcall.lint import CLIENT_TIMEOUTS, PROVIDERS
from dagcall.tools.client_limits import is_argument_name, is_tool_name
from dagcall.tools.input_schema import InputSchema
from dagcall.tools.keywords import objects_in
from dagcall.tools.naming import property_name_from_param, tool_name_from_dag_id
from tests.support.any_schemas import any_schema

CLIENTS_PAGE = Path(__file__).parents[3] / "docs" / "clients.md"

LETTERS, DIGITS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
DOCUMENTED: dict[str, tuple[str, str, int]] = {
    # The page has the regular expression ^[a-zA-Z0-9_-]{1,64}$ for it.
    "Anthropic": (LETTERS + DIGITS + "_-", LETTERS + DIGITS + "_-", 64),
    # "Must be a-z, A-Z, 0-9, or contain underscores and dashes, with a maximum length of 64."
    "OpenAI": (LETTERS + DIGITS + "_-", LETTERS + DIGITS + "_-", 64),
    # "Must be a-z, A-Z, 0-9, or contain underscores, colons, dots, and dashes, with a maximum length of 64."
    "Gemini API": (LETTERS + DIGITS + "_:.-", LETTERS + DIGITS + "_:.-", 64),
    # "Must start with a letter or an underscore. Must be a-z, A-Z, 0-9, or contain underscores, dots and dashes, with a
    # maximum length of 64."
    "Vertex AI": (LETTERS + "_", LETTERS + DIGITS + "_.-", 64),
    # VS Code passes names to these models.
    "VS Code": (LETTERS + DIGITS + "_-", LETTERS + DIGITS + "_-", 64),
}
"""Provider -> first characters of a tool's name, its characters, its maximum length."""
MOST_TOOLS = {
    "OpenAI": 128,  # "A max of 128 functions are supported."
    "Vertex AI": 128,  # "The maximum number of function declarations that can be provided with the request is 128."
    "VS Code": 128,  # "A chat request can have a maximum of 128 tools enabled at a time"
}
PREFIX = "mcp__airflow__"
"""Clients put the server's name in front of a tool's name."""
NAMES = st.text(max_size=80) | st.text(LETTERS + DIGITS + "_-.: é", max_size=80)


def fits(name: str, documented: tuple[str, str, int]) -> bool:
    first, characters, length = documented
    return 0 < len(name) <= length and name[0] in first and set(name) <= set(characters)


def test_every_provider_is_checked() -> None:
    assert {provider.name for provider in PROVIDERS} == DOCUMENTED.keys()
    assert {provider.name: provider.most_tools for provider in PROVIDERS if provider.most_tools} == MOST_TOOLS
    assert all(provider.page.startswith("https://") for provider in PROVIDERS)


@given(NAMES)
def test_the_patterns_are_those_of_the_pages(name: str) -> None:
    for provider in PROVIDERS:
        assert (provider.tool_name.fullmatch(name) is not None) == fits(name, DOCUMENTED[provider.name]), provider.name


@given(NAMES)
def test_every_provider_accepts_the_names_that_dagcall_publishes(dag_id: str) -> None:
    name = tool_name_from_dag_id(dag_id)
    assert is_tool_name(name)
    for provider in PROVIDERS:
        assert provider.tool_name.fullmatch(name), provider.name
        assert provider.tool_name.fullmatch(PREFIX + name), provider.name


@given(NAMES)
def test_every_provider_accepts_published_arguments_but_for_dashes(param: str) -> None:
    name = property_name_from_param(param)
    assert is_argument_name(name)
    refusing = {
        provider.name
        for provider in PROVIDERS
        if provider.argument_name is not None and not provider.argument_name.fullmatch(name)
    }
    assert refusing == ({"Vertex AI"} if "-" in name else set())


@pytest.mark.parametrize(
    ("name", "is_documented"),
    [("max_rows", True), ("_id", True), ("max-rows", False), ("1st", False), ("x" * 65, False)],
)
def test_vertex_documents_argument_names(name: str, *, is_documented: bool) -> None:
    """Parameter names must start with a letter or an underscore and only contain letters, digits and underscores."""
    (vertex,) = (provider for provider in PROVIDERS if provider.name == "Vertex AI")
    assert vertex.argument_name is not None
    assert (vertex.argument_name.fullmatch(name) is not None) == is_documented


@pytest.mark.untraced
@given(any_schema())
@example({"not": {"type": "array"}})
@example({"type": "array", "contains": {"type": ["array", "null"]}, "if": {"type": "array"}, "then": {"minItems": 1}})
def test_vs_code_and_anthropic_accept_the_schemas_that_dagcall_publishes(schema: dict[str, Any]) -> None:
    """VS Code's checks, which Anthropic and OpenAI share:
    https://github.com/microsoft/vscode-copilot-chat/blob/main/src/extension/tools/common/toolSchemaNormalizer.ts
    """
    try:
        wire = InputSchema.from_params((Param("p", None, schema, None),)).wire
    except ToolUnpublishable:
        return
    # "schema must be an object if present", "schema must have a properties object"
    assert wire["type"] == "object"
    assert isinstance(wire["properties"], dict)
    # "object has unsupported top-level schema keyword"; Anthropic: "input_schema does not support oneOf, allOf, or
    # anyOf at the top level"
    assert not {"oneOf", "anyOf", "allOf", "not", "if", "then", "else"} & wire.keys()
    # "tool parameters do not match JSON schema", which is draft 7
    Draft7Validator.check_schema(wire)
    for part in objects_in(wire):
        # "tool parameters array type must have items", "has items as an array, which is not supported"
        assert part.get("type") != "array" or isinstance(part.get("items"), dict)
        # A description has at most 1,024 characters ("gpt4oMaxStringLength").
        assert len(part.get("description", "").encode("utf-16-le")) <= 2 * 1024


def test_time_outs_are_those_of_the_clients_page() -> None:
    section = CLIENTS_PAGE.read_text(encoding="utf-8").split("\n## Time-outs\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| (?:about )?(\d+) s[^|]*\|", section, re.MULTILINE)
    assert {client.client: client.seconds for client in CLIENT_TIMEOUTS} == {name: float(s) for name, s in rows}
