"""`docs/examples/`: workflows match GitHub's schema, and name commands and options that exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from dagcall.cli.commands import app

WORKFLOWS = sorted((Path(__file__).parents[2] / "docs" / "examples").glob("*.yml"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_matches_githubs_schema(workflow: Path) -> None:
    """The schema comes with check-jsonschema; nothing is downloaded."""
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(workflow)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)  # noqa: S603 - a locked package
    assert done.returncode == 0, done.stdout


def test_workflows_use_existing_commands_and_options() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    used = [
        line for path in WORKFLOWS for line in re.findall(r"\bdagcall (\w+ --.*)", path.read_text(encoding="utf-8"))
    ]
    assert used
    for line in used:
        name, *words = line.split()
        options = {option for parameter in group.commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options
