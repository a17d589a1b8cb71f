"""Editors know dagcall.toml: its JSON Schema accepts what dagcall accepts, as a TOML language server reads it."""

import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from dagcall.cli.commands import app
from tests.project.settings_schema import FILES, PACKAGED, schema_text, settings_schema
from tests.project.test_docs import blocks

TAPLO = Path(sys.executable).with_name("taplo")
EXAMPLES = blocks("toml")


def taplo(file: Path) -> subprocess.CompletedProcess[str]:
    command = [str(TAPLO), "check", "--schema", PACKAGED.as_uri(), str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - our own command


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_schema_is_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == schema_text(), "rewrite it with: python -m tests.project.test_docs"


def test_schema_describes_every_setting() -> None:
    schema = settings_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    tables = [schema, *schema["$defs"].values()]
    undescribed = [
        key
        for table in tables
        for key, field in table["properties"].items()
        if "description" not in field and "$ref" not in field
    ]
    assert undescribed == []


def test_every_example_of_the_documents_is_valid() -> None:
    for example in EXAMPLES:
        jsonschema.validate(tomllib.loads(example), settings_schema(), jsonschema.Draft7Validator)


def test_language_server_accepts_every_example_of_the_documents(tmp_path: Path) -> None:
    for number, example in enumerate(EXAMPLES):
        file = tmp_path / f"{number}.toml"
        file.write_text(example, encoding="utf-8")
        done = taplo(file)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[airflow]\nusernam = "ann"', "'usernam' was unexpected"),
        ('[airflow]\nmax_in_flight = "many"', "is not of type"),
        ("[airflow]\nmax_in_flight = 0", "less than the minimum"),
        ('[[tools]]\ndag = "a"\non_cancel = "stop"', "is not one of"),
    ],
)
def test_language_server_shows_mistakes(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "dagcall.toml"
    file.write_text(text, encoding="utf-8")
    done = taplo(file)
    assert done.returncode != 0
    assert complaint in done.stderr


def test_command_prints_the_schema() -> None:
    assert CliRunner().invoke(app, ["schema"]).output == schema_text()
