"""`tool_schemas/`: the reviewed tools of the demo's dags match those published from a real Airflow."""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dagcall.demo.stack import DAGS, dag_files
from dagcall.tools.naming import GENERIC_TOOL_NAMES
from dagcall.tools.pins import pin_text
from tests.support.commands import clean_environ, run_dagcall
from tests.support.running_demo import RunningDemo

FOLDER = Path(__file__).parents[2] / "tool_schemas"
PINS = sorted(FOLDER.glob("*.json"))
#: All tools together must leave room for a conversation in a client's context window.
MAX_TOOL_BYTES = 12_000

every_tool = pytest.mark.parametrize("path", PINS, ids=lambda path: path.stem)


def test_published_tools_match_the_reviewed_files(demo: RunningDemo) -> None:
    """Only the demo's dags, because its Airflow also contains those of the tests."""
    environ = clean_environ(
        DAGCALL_AIRFLOW_URL=demo.airflow_url,
        DAGCALL_AIRFLOW_USERNAME="agent",
        DAGCALL_AIRFLOW_PASSWORD_FILE=str(demo.folder / "airflow-agent-password"),
        DAGCALL_DAGS=",".join(sorted(Path(name).stem for name in dag_files(DAGS))),
    )
    done = run_dagcall("check", "--dir", str(FOLDER), environ=environ)
    assert done.returncode == 0, (
        f"{done.stdout}{done.stderr}\nReview the differences; then, while `make demo` runs: make pin"
    )


def test_every_demo_dag_and_every_tool_of_dagcall_has_a_file() -> None:
    expected = {Path(name).stem for name in dag_files(DAGS)} | GENERIC_TOOL_NAMES
    assert {path.stem for path in PINS} == expected


def tool_in(path: Path) -> dict[str, Any]:
    tool: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return tool


def schemas_in(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Yield a schema and all schemas within it."""
    if isinstance(schema, Mapping):
        yield schema
        for key, value in schema.items():
            if key not in {"default", "examples", "enum", "const"}:
                yield from schemas_in(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from schemas_in(item)


@every_tool
def test_file_is_in_canonical_form(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == pin_text(tool_in(path))


@every_tool
def test_tool_name_is_valid_for_all_clients(path: Path) -> None:
    name = tool_in(path)["name"]
    assert name == path.stem
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,50}", name)


@every_tool
def test_all_four_hints_are_given(path: Path) -> None:
    annotations = tool_in(path)["annotations"]
    hints = {key for key, value in annotations.items() if isinstance(value, bool)}
    assert hints == {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}


@every_tool
def test_input_schema_is_valid_for_all_clients(path: Path) -> None:
    schema = tool_in(path)["inputSchema"]
    Draft202012Validator.check_schema(schema)
    assert schema.keys() == {"type", "properties", "required", "additionalProperties"}
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert schema["required"] == sorted(schema["required"])
    assert set(schema["required"]) <= schema["properties"].keys()
    for part in schemas_in(schema):
        assert "$schema" not in part
        if "array" in part.get("type", ()):
            assert "items" in part


@every_tool
def test_defaults_and_examples_match_their_schema(path: Path) -> None:
    for name, schema in tool_in(path)["inputSchema"]["properties"].items():
        for value in [*schema.get("examples", []), *([schema["default"]] if "default" in schema else [])]:
            assert not list(Draft202012Validator(schema).iter_errors(value)), (name, value)


@every_tool
def test_every_argument_is_described(path: Path) -> None:
    """In its own description or in the tool's, because a plain default cannot have a description."""
    tool = tool_in(path)
    for name, schema in tool["inputSchema"]["properties"].items():
        assert schema.get("description") or f"`{name}`" in tool["description"], name


@every_tool
def test_output_schema_is_valid(path: Path) -> None:
    schema = tool_in(path)["outputSchema"]
    Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"


@every_tool
def test_file_has_no_hidden_characters(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert {c for c in text if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn"}} == set()
    assert not re.search(r"\\u[0-9a-f]{4}", text), "an escaped character would not be visible in a client"


@every_tool
def test_tool_size_is_limited(path: Path) -> None:
    assert len(json.dumps(tool_in(path), ensure_ascii=False).encode()) <= MAX_TOOL_BYTES
