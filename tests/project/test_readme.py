"""README.md says what the code does.

Its tables and `--help` blocks are made from the code: `python -m tests.project.test_readme` writes them anew.
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
from dagcall.settings.settings import Settings, load_settings, variable_names
from dagcall.tools.policy import ToolPolicy
from tests.fake_airflow import Version

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"

MEANINGS = {
    "airflow.password": "The password; better given in a variable or a file.",
    "server.port": "The port to listen on.",
}
"""Where the code says nothing, for the name says it all."""
GENERATED = re.compile(r"(?<=<!-- generated: )(?P<name>[\w. ]+)( -->\n)(?P<text>.*?)(?=<!-- end -->)", re.DOTALL)
LINE_LENGTH = 120


# What the code says


@cache
def attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return what stands below each attribute of a class, on one line."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for attribute, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(attribute, ast.AnnAssign) and isinstance(attribute.target, ast.Name):  # noqa: SIM102
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[attribute.target.id] = " ".join(str(below.value.value).split())
    return found


def fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo, str]]:
    """Yield name, field and meaning of every setting of a model, those of its parts included."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from fields_of(inner, f"{prefix}{name}.")
            continue
        path = f"{prefix}{name}"
        meaning = attribute_docstrings(model).get(name) or MEANINGS.get(path)
        assert meaning, f"{path} has no docstring in {model.__name__}, for the README"
        yield path, field, meaning


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


def help_block(command: str) -> str:
    result = CliRunner().invoke(app, [command, "--help"], prog_name="dagcall", env={"COLUMNS": "80"})
    assert result.exit_code == 0
    lines = [line.rstrip() for line in result.output.strip().splitlines()]
    return "\n".join(["```text", f"$ dagcall {command} --help", *lines, "```", ""])


def figure(value: Any) -> str:
    """Return a measured number with three digits, or that there is none."""
    if isinstance(value, dict):
        return "not measured"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def bench_table() -> str:
    """Return the figures of the bench's last run, with its day and its machine."""
    results = json.loads((ROOT / "bench" / "results.json").read_text(encoding="utf-8"))
    columns = ("dagcall", "script", "astro-airflow-mcp", "bare SDK server")
    rows, section = [], ""
    for row in results["rows"]:
        if row["section"] != section:
            section = row["section"]
            rows.append((f"**{section}**", *("" for _ in columns), ""))
        what = row["what"] + (f" ({row['unit']})" if row["unit"] else "")
        wanted = row["wanted"] + (", missed" if row["is_met"] is False else "")
        rows.append((what, *(figure(row["figures"][c]) if c in row["figures"] else "" for c in columns), wanted))
    machine = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    lines = textwrap.fill(f"Measured on {results['date']}: {machine}.", LINE_LENGTH)
    return f"{lines}\n\n" + table(("", *columns, "wanted"), *rows)


GENERATORS: dict[str, Callable[[], str]] = {
    "bench": bench_table,
    "settings": settings_table,
    "tools": tools_table,
    "commands": commands_table,
    "help serve": lambda: help_block("serve"),
    "help call": lambda: help_block("call"),
}


# What the README says


def readme() -> str:
    return README.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", readme(), re.DOTALL | re.MULTILINE)


def prose() -> str:
    """Return the README without its fenced blocks."""
    return re.sub(r"^(`{3,}).*?^\1$", "", readme(), flags=re.DOTALL | re.MULTILINE)


def test_each_bullet_begins_a_line_and_its_text_stays_below_it() -> None:
    lines = prose().splitlines()
    assert [line for line in lines if re.search(r"\S \* \S", line)] == []
    after_bullets = [(line, after) for line, after in pairwise(lines) if line.startswith("* ") and after]
    assert [after for _, after in after_bullets if not after.startswith(("* ", "  ", "|"))] == []


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generated_part_is_what_the_code_makes(name: str) -> None:
    parts = {match["name"]: match["text"] for match in GENERATED.finditer(readme())}

    assert parts[name] == GENERATORS[name](), "write it anew with: python -m tests.project.test_readme"


def test_the_settings_files_load(tmp_path: Path) -> None:
    examples = blocks("toml")
    assert examples
    for example in examples:
        for secret in re.findall(r'_file = "([^"]+)"', example):
            (tmp_path / secret).write_text("secret")
        path = tmp_path / "dagcall.toml"
        path.write_text(example, encoding="utf-8")

        settings = load_settings(path, environ={})

        assert len(settings.policies) == len(tomllib.loads(example).get("tools", ()))


def test_the_json_is_json() -> None:
    assert all(isinstance(json.loads(block), dict) for block in blocks("json"))


def test_the_programs_compile() -> None:
    programs = blocks("python")
    assert len(programs) == 3
    for program in programs:
        compile(program, "README.md", "exec")


def test_the_desktop_snippets_name_settings_that_exist() -> None:
    servers = [json.loads(block)["mcpServers"]["airflow"] for block in blocks("json") if "mcpServers" in block]

    assert [server["args"][:2] for server in servers] == [["serve", "--stdio"]] * 2
    assert {name for server in servers for name in server.get("env", {})} <= variable_names().keys()


def test_every_variable_exists() -> None:
    assert set(re.findall(r"\bDAGCALL_\w+", readme())) <= variable_names().keys()


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^\$ )make ([a-z]+)", readme(), re.MULTILINE))

    assert named >= {"demo", "test", "check"}
    assert named <= targets


def test_the_versions_are_those_that_are_tested() -> None:
    *older, newest = get_args(Version)

    assert f"tested with Airflow {', '.join(older)} and {newest}, whole runs with {newest}" in " ".join(prose().split())


def test_links_lead_somewhere() -> None:
    text = prose()
    anchors = {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in headings(text)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors
        elif not target.startswith("https://"):
            assert (ROOT / target).exists(), target


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", text, re.MULTILINE)


def test_the_example_of_a_tool_is_from_its_pin() -> None:
    (excerpt,) = (json.loads(block) for block in blocks("json") if "inputSchema" in block)
    pin = json.loads((ROOT / "tool_schemas" / f"{excerpt['name']}.json").read_text(encoding="utf-8"))

    assert_is_excerpt(excerpt, pin, "the tool")


def assert_is_excerpt(excerpt: Any, whole: Any, where: str) -> None:
    """Check that nothing but keys is left out, and that a text breaks off only where it says `…`."""
    if isinstance(excerpt, dict):
        assert excerpt.keys() <= whole.keys(), where
        for key, value in excerpt.items():
            assert_is_excerpt(value, whole[key], f"{where}.{key}")
    elif isinstance(excerpt, str) and excerpt.endswith("…"):
        assert whole.startswith(excerpt.removesuffix("…").rstrip()), where
    else:
        assert excerpt == whole, where


def test_the_messages_that_it_explains_are_those_of_the_code() -> None:
    """Each is in the code as one text, but for `…`."""
    rows = re.findall(r"^\| `([^`]+)` \|", readme().partition("| message |")[2], re.MULTILINE)
    texts = texts_of_the_code()
    assert len(rows) > 10
    for message in rows:
        if message != "state: running":  # a result, not a message
            assert all(any(part in text for text in texts) for part in message.split("…")), message


def texts_of_the_code() -> set[str]:
    """Return every text in dagcall's modules; of an f-string, what stands between its fields."""
    found = set()
    for path in Path(dagcall.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_lines_are_short_enough_to_read_in_a_terminal() -> None:
    text = GENERATED.sub("", "\n".join(line for line in readme().splitlines() if not line.startswith("| ")))

    assert [line for line in text.splitlines() if len(line) > LINE_LENGTH] == []


if __name__ == "__main__":
    README.write_text(
        GENERATED.sub(lambda match: f"{match['name']} -->\n{GENERATORS[match['name']]()}", readme()), encoding="utf-8"
    )
