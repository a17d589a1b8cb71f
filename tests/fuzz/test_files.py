"""Changed settings, pins and dagcall blocks in a dag's `doc_md` are either read or refused with a reason."""

import json
import os
import string
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dagcall.airflow.model import Dag, DagSummary, Param
from dagcall.errors import ConfigError, ToolUnpublishable
from dagcall.settings.settings import load_settings
from dagcall.tools.pins import pins_from_texts
from dagcall.tools.policy import ToolPolicy
from dagcall.tools.tool import tool_from_dag
from tests.fuzz.effort import tried, trying
from tests.fuzz.mutations import Mutation, mutated, mutations

PINS = Path(__file__).parents[2] / "tool_schemas"
SETTINGS: dict[str, Any] = {
    "pins": "tool_schemas",
    "refresh_seconds": 30,
    "airflow": {"url": "https://airflow.example.com/team", "username": "agent", "password": "secret"},
    "server": {"port": 8000, "allowed_hosts": ["dagcall.internal"], "wait_seconds": 30},
    "auth": {"issuer": "https://login.example.com", "audience": "dagcall"},
    "limits": {"calls_per_minute": 60, "max_concurrent": 4},
    "audit": {"file": "audit.jsonl", "arguments": "full"},
    "accounts": [{"callers": ["key:anna"], "username": "anna", "password_file": "anna"}],
    "tools": [
        {
            "dag": "sales_report",
            "name": "sales",
            "results": ["report"],
            "fixed": {"limit": 5},
            "hidden": ["totals"],
            "annotations": {"read_only": True},
            "output_schema": {"properties": {"report": {"type": "object"}}},
        },
        {"tag": "mcp"},
        {"dags": "ml_*", "callers": ["key:anna"], "max_concurrent": 2},
    ],
}
BLOCK: dict[str, Any] = {
    "title": "Sales",
    "results": ["report"],
    "annotations": {"read_only": True},
    "output_schema": {"properties": {"report": {"type": "object", "properties": {"sum": {"type": "number"}}}}},
}
any_change = st.lists(mutations(), min_size=1, max_size=3)


def scratched(text: str, places: list[tuple[int, str]]) -> str:
    """Return a text with some characters replaced or removed."""
    characters = list(text)
    for place, character in places:
        if characters:
            characters[place % len(characters)] = character
    return "".join(characters)


ODD = [*string.punctuation, "", "\n", "\r", "\t", "\0", "\u202e", "\ufeff", "é", "9", "[[", '"""']
scratches = st.lists(st.tuples(st.integers(0, 2**12), st.sampled_from(ODD)), max_size=3)


def changed_toml(content: dict[str, Any], changes: list[Mutation], places: list[tuple[int, str]]) -> str:
    """Return TOML with these changes; skip the example if TOML cannot express it."""
    try:
        return scratched(tomli_w.dumps(mutated(content, *changes)), places)
    except (TypeError, ValueError, AttributeError, RecursionError):
        assume(condition=False)
        raise


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("DAGCALL_")]:  # noqa: TID251 - to clean it
        monkeypatch.delenv(name)
    return tmp_path / "dagcall.toml"


def test_any_settings_are_read_or_refused(path: Path) -> None:
    @trying(150)
    @given(any_change, scratches)
    def try_it(changes: list[Mutation], places: list[tuple[int, str]]) -> None:
        tried("settings")
        path.write_bytes(changed_toml(SETTINGS, changes, places).encode(errors="surrogatepass"))
        with suppress(ConfigError):
            load_settings(path)

    try_it()


def test_any_pin_is_read_or_reported_as_unusable() -> None:
    pinned = {path.stem: path.read_text(encoding="utf-8") for path in PINS.glob("*.json")}
    published = json.loads(pinned["sales_report"])
    as_published = json.dumps(published, sort_keys=True)
    assert pins_from_texts(pinned).objection(published) is None

    @trying(150)
    @given(any_change, scratches)
    def try_it(changes: list[Mutation], places: list[tuple[int, str]]) -> None:
        tried("pins")
        try:
            text = scratched(json.dumps(mutated(published, *changes)), places)
        except (ValueError, RecursionError):
            return
        pins = pins_from_texts(pinned | {"sales_report": text})
        objection = pins.objection(published)
        try:
            is_as_published = json.dumps(json.loads(text), sort_keys=True) == as_published  # 0 and false differ
        except (ValueError, RecursionError):
            is_as_published = False
        assert (objection is None) == is_as_published, text
        assert all(pins.objection(json.loads(pinned[name])) is None for name in pinned if name != "sales_report")

    try_it()


def test_any_doc_md_gives_a_valid_tool_or_is_refused() -> None:
    summary = DagSummary("sales", frozenset(), False, False, False, None, None, "Sales")  # noqa: FBT003 - as Airflow lists it
    params = (Param("limit", 5, {"type": "integer"}, "How many."),)

    @trying(150)
    @given(any_change, scratches, scratches)
    def try_it(changes: list[Mutation], places: list[tuple[int, str]], around: list[tuple[int, str]]) -> None:
        tried("blocks in `doc_md`")
        block = changed_toml(BLOCK, changes, places)
        doc_md = scratched(f"Sums up.\n\n```toml dagcall\n{block}\n```\n\n* [x](http://x)\n<b>More.</b>\n", around)
        with suppress(ToolUnpublishable):
            tool = tool_from_dag(Dag(summary, doc_md, params), ToolPolicy(dag="sales"))
            Draft202012Validator.check_schema(tool.wire.input_schema)
            assert tool.wire.output_schema is not None
            Draft202012Validator.check_schema(tool.wire.output_schema)

    try_it()


def test_unchanged_settings_are_valid(path: Path) -> None:
    path.write_text(tomli_w.dumps(SETTINGS))
    assert tomllib.loads(path.read_text()) == SETTINGS
    load_settings(path)
