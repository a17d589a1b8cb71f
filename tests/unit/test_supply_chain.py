"""What is installed is what was locked: every package by the hash of its file."""

import re
import tomllib
from pathlib import Path

import pytest

import dagcall

ROOT = Path(__file__).parents[2]
REQUIREMENTS = sorted(
    [*Path(dagcall.__file__).parent.glob("demo/*.txt"), *ROOT.glob("tests/*/requirements/*.txt")],
    key=lambda path: path.name,
)
HASH = r"--hash=sha256:[0-9a-f]{64}"


def test_every_locked_package_has_hashes() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    files = {
        package["name"]: [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        for package in lock["package"]
        if "registry" in package["source"]
    }
    assert {package["name"] for package in lock["package"]} - files.keys() == {"dagcall"}
    assert [name for name, found in files.items() if not found] == []
    assert [
        file["url"]
        for found in files.values()
        for file in found
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", file["hash"]) or not file["url"].startswith("https://")
    ] == []


def test_the_demo_and_the_tests_bring_locked_requirements() -> None:
    assert {path.parent.name for path in REQUIREMENTS} == {"demo", "requirements"}


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_has_hashes(path: Path) -> None:
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    requirements = text.replace("\\\n", " ").splitlines()
    assert requirements
    odd = [line for line in requirements if not re.fullmatch(rf"[\w.\[\],-]+==[^\s;]+( ;[^-]+?)?(\s+{HASH})+", line)]
    assert odd == []
