"""README.md and docs/ match the code.

Their tables and `--help` blocks are generated: `python -m tests.project.test_docs` rewrites them.
"""

import ast
import inspect
import json
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

import dagcall
from dagcall.cli.commands import app
from dagcall.metrics import METRICS
from dagcall.settings.settings import Settings, load_settings, variable_names
from dagcall.tools.policy import ToolPolicy
from tests.fake_airflow import Version
from tests.proof.page import write as write_pages_of_findings
from tests.scale.balancing import snippet as nginx_snippet

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = (
    README,
    *(
        DOCS / f"{name}.md"
        for name in (
            "installation",
            "clients",
            "writing-dags",
            "results",
            "configuration",
            "authentication",
            "operations",
            "reliability",
            "troubleshooting",
            "design",
            "development",
        )
    ),
)
"""Written by hand, except for the parts between markers. `tests.proof` and `tests.faults.matrix` generate the rest."""
LINKING = sorted(
    {*PAGES, *DOCS.glob("*.md"), *ROOT.glob("*.md"), ROOT / "bench/README.md", ROOT / "tool_schemas/README.md"}
)

MEANINGS = {
    "server.port": "The port to listen on.",
}
"""The meanings of settings that have no docstring."""
GENERATED = re.compile(r"(?<=<!-- generated: )(?P<name>[\w. ]+)( -->\n)(?P<text>.*?)(?=<!-- end -->)", re.DOTALL)
LINE_LENGTH = 120
README_LINES = 250


# The code


@cache
def attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring below each attribute of a class and those it inherits from, on one line."""
    found: dict[str, str] = {}
    for base in model.__mro__[1:]:
        if issubclass(base, BaseModel) and base.__module__.startswith("dagcall."):
            found |= attribute_docstrings(base)
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    for attribute, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(attribute, ast.AnnAssign) and isinstance(attribute.target, ast.Name):  # noqa: SIM102
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[attribute.target.id] = " ".join(str(below.value.value).split())
    return found


def fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo, str]]:
    """Yield the name, field and meaning of every setting of a model, including those of nested models."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from fields_of(inner, f"{prefix}{name}.")
            continue
        path = f"{prefix}{name}"
        meaning = attribute_docstrings(model).get(name) or MEANINGS.get(path)
        assert meaning, f"{path} has no docstring in {model.__name__}, for the documents"
        yield path, field, meaning


def models_of(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield a model and those of its tables."""
    yield model
    for field in model.model_fields.values():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from models_of(kind)


def default_text(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ((), frozenset(), {}):
        return ""
    return f"`{json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)}`"


def table(*rows: tuple[str, ...]) -> str:
    head, *body = ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *(row.replace("  ", " ") for row in body), ""])


def settings_table() -> str:
    variables = {setting: variable for variable, setting in variable_names().items()}
    rows = [
        (f"`{path}`", f"`{variables[path]}`" if path in variables else "", default_text(field), meaning)
        for path, field, meaning in fields_of(Settings)
    ]
    return table(("setting", "variable", "default", "meaning"), *rows)


def tools_table() -> str:
    rows = [(f"`{path}`", default_text(field), meaning) for path, field, meaning in fields_of(ToolPolicy)]
    return table(("key", "default", "meaning"), *rows)


def commands_table() -> str:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    rows = [(f"`dagcall {name}`", command.help.splitlines()[0]) for name, command in commands.items()]
    return table(("command", "what it does"), *rows)


def metrics_table() -> str:
    rows = [
        (f"`{metric.exported_name}`", metric.kind, ", ".join(f"`{label}`" for label in metric.labels), metric.meaning)
        for metric in METRICS
    ]
    return table(("metric", "kind", "labels", "meaning"), *rows)


def help_block(command: str) -> str:
    result = CliRunner().invoke(app, [command, "--help"], prog_name="dagcall", env={"COLUMNS": "80"})
    assert result.exit_code == 0
    lines = [line.rstrip() for line in result.output.strip().splitlines()]
    return "\n".join(["```text", f"$ dagcall {command} --help", *lines, "```", ""])


GENERATORS: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "tools": tools_table,
    "commands": commands_table,
    "metrics": metrics_table,
    "help serve": lambda: help_block("serve"),
    "help call": lambda: help_block("call"),
    "nginx": nginx_snippet,
}


# The pages


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of one language from all pages."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    return [block for page in PAGES for block in pattern.findall(text_of(page))]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^(`{3,}).*?^\1$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)


def test_readme_is_short() -> None:
    assert len(text_of(README).splitlines()) <= README_LINES


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_bullets_start_on_their_own_lines_and_are_indented(page: Path) -> None:
    lines = prose(page).splitlines()
    assert [line for line in lines if re.search(r"\S \* \S", line)] == []
    after_bullets = [(line, after) for line, after in pairwise(lines) if line.startswith("* ") and after]
    assert [after for _, after in after_bullets if not after.startswith(("* ", "  ", "|"))] == []


@pytest.mark.parametrize("name", GENERATORS)
def test_generated_part_is_up_to_date(name: str) -> None:
    parts = {match["name"]: match["text"] for page in PAGES for match in GENERATED.finditer(text_of(page))}

    assert parts[name] == GENERATORS[name](), "rewrite it with: python -m tests.project.test_docs"


def test_example_settings_load(tmp_path: Path) -> None:
    examples = blocks("toml")
    assert examples
    for example in examples:
        for secret in re.findall(r'_file = "([^"]+)"', example):
            (tmp_path / secret).write_text("secret")
        path = tmp_path / "dagcall.toml"
        path.write_text(example, encoding="utf-8")

        settings = load_settings(path, environ={})

        assert len(settings.policies) == len(tomllib.loads(example).get("tools", ()))


def test_json_blocks_are_valid() -> None:
    assert all(isinstance(json.loads(block), dict) for block in blocks("json"))


def test_programs_compile() -> None:
    programs = blocks("python")
    assert len(programs) == 3
    for program in programs:
        compile(program, "a program of the documents", "exec")


def test_desktop_snippets_use_existing_variables() -> None:
    servers = [json.loads(block)["mcpServers"]["airflow"] for block in blocks("json") if "mcpServers" in block]

    assert [server["args"][:2] for server in servers] == [["serve", "--stdio"]] * 3
    assert {name for server in servers for name in server.get("env", {})} <= variable_names().keys()


def test_named_variables_exist() -> None:
    named = {name for page in PAGES for name in re.findall(r"\bDAGCALL_\w+", text_of(page))}

    assert named
    assert named <= variable_names().keys()


def test_named_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:`|^\$ )make ([a-z]+)", text_of(page), re.MULTILINE)}

    assert named >= {"demo", "test", "check"}
    assert named <= targets


def test_readme_names_the_tested_airflow_versions() -> None:
    *older, newest = get_args(Version)

    assert f"tested with Airflow {', '.join(older)} and {newest}" in " ".join(prose(README).split())


@pytest.mark.parametrize("page", LINKING, ids=page_id)
def test_links_point_to_existing_targets(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES[1:], ids=page_id)
def test_readme_links_to_every_page(page: Path) -> None:
    assert f"]({page_id(page)})" in prose(README)


def test_example_tool_is_an_excerpt_of_its_pin() -> None:
    (excerpt,) = (json.loads(block) for block in blocks("json") if "inputSchema" in block)
    pin = json.loads((ROOT / "tool_schemas" / f"{excerpt['name']}.json").read_text(encoding="utf-8"))

    assert_is_excerpt(excerpt, pin, "the tool")


def assert_is_excerpt(excerpt: Any, whole: Any, where: str) -> None:
    """Check that an excerpt only omits keys, and truncates texts only at `…`."""
    if isinstance(excerpt, dict):
        assert excerpt.keys() <= whole.keys(), where
        for key, value in excerpt.items():
            assert_is_excerpt(value, whole[key], f"{where}.{key}")
    elif isinstance(excerpt, str) and excerpt.endswith("…"):
        assert whole.startswith(excerpt.removesuffix("…").rstrip()), where
    else:
        assert excerpt == whole, where


def test_explained_messages_exist_in_the_code() -> None:
    """Each part between `…` is in one string of the code."""
    rows = re.findall(r"^\| `([^`]+)` ", text_of(DOCS / "troubleshooting.md"), re.MULTILINE)
    messages = [message for message in rows if message != "preview" and not message.startswith("state: ")]
    texts = texts_of_the_code()
    assert len(messages) > 10
    for message in messages:
        assert all(any(part in text for text in texts) for part in message.split("…")), message


def texts_of_the_code() -> set[str]:
    """Return every string in dagcall's modules; for an f-string, the parts between its fields."""
    found = set()
    for path in Path(dagcall.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_lines_have_at_most_120_characters(page: Path) -> None:
    text = GENERATED.sub("", "\n".join(line for line in text_of(page).splitlines() if not line.startswith("| ")))

    assert [line for line in text.splitlines() if len(line) > LINE_LENGTH] == []


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(
            GENERATED.sub(lambda match: f"{match['name']} -->\n{GENERATORS[match['name']]()}", text_of(page)),
            encoding="utf-8",
        )
    write_pages_of_findings()
    from tests.project import settings_schema

    settings_schema.write()
