"""What the files in `deploy/` and server.json say of dagcall is so."""

import json
import re
import tomllib

import pytest

from dagcall.settings.settings import variable_names
from tests.packaging.packages import CHART, DEPLOY, ROOT
from tests.packaging.tools import Tools

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
SERVER = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
MANIFEST = json.loads((DEPLOY / "mcpb" / "manifest.json").read_text(encoding="utf-8"))
TEXTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "server.json", *DEPLOY.rglob("*")]
    if path.is_file() and path.suffix not in {".png", ".pyc"}
}


def test_every_package_has_the_version_of_the_project() -> None:
    chart = (CHART / "Chart.yaml").read_text(encoding="utf-8")
    found = {
        "chart": re.findall(r"^(?:version|appVersion): (.+)$", chart, re.MULTILINE),
        "bundle": [MANIFEST["version"]],
        "registry": [SERVER["version"], *(package["version"] for package in SERVER["packages"])],
    }
    assert found == {name: [VERSION] * len(versions) for name, versions in found.items()}
    assert len(found["chart"]) == 2


@pytest.mark.parametrize("name", TEXTS)
def test_named_variables_exist(name: str) -> None:
    assert set(re.findall(r"\bDAGCALL_[A-Z_]+", TEXTS[name])) - {"DAGCALL_"} <= variable_names().keys()


def test_form_of_the_bundle_is_passed_on() -> None:
    passed = re.findall(r"\$\{user_config\.(\w+)\}", json.dumps(MANIFEST["server"]))
    assert sorted(passed) == sorted(MANIFEST["user_config"])


def test_secrets_are_marked_as_such() -> None:
    variables = {each["name"]: each.get("isSecret", False) for each in SERVER["packages"][0]["environmentVariables"]}
    fields = {name: field.get("sensitive", False) for name, field in MANIFEST["user_config"].items()}
    for marked in (variables, fields):
        assert {name for name in marked if re.search(r"password|token", name.lower())} == {
            name for name, is_secret in marked.items() if is_secret
        }


def test_registry_accepts_server_json(tools: Tools) -> None:
    """The rules of the official registry, with its schema, in a tool that works offline."""
    tools.run("skillsaw", "lint", "--strict", "--no-progress", "--type", "mcp-registry", ROOT / "server.json")


def test_readme_proves_the_ownership_of_the_package() -> None:
    """The registry looks for this line in the description on PyPI."""
    assert f"<!-- mcp-name: {SERVER['name']} -->" in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
