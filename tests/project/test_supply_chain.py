"""Every package is installed by the locked hash of its file."""

import json
import re
import tomllib
from pathlib import Path

import pytest

import dagcall
from dagcall.demo.installation import UV_REQUIREMENTS, find_uv

ROOT = Path(__file__).parents[2]
REQUIREMENTS = sorted(
    [
        *Path(dagcall.__file__).parent.glob("demo/*.txt"),
        *ROOT.glob("tests/*/requirements/*.txt"),
        *ROOT.glob("deploy/*.txt"),
    ],
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


def test_demo_and_tests_have_locked_requirements() -> None:
    assert {path.parent.name for path in REQUIREMENTS} == {"demo", "deploy", "requirements"}


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_has_hashes(path: Path) -> None:
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    requirements = text.replace("\\\n", " ").splitlines()
    assert requirements
    odd = [line for line in requirements if not re.fullmatch(rf"[\w.\[\],-]+==[^\s;]+( ;[^-]+?)?(\s+{HASH})+", line)]
    assert odd == []


def test_every_locked_npm_package_has_a_hash_and_no_registry() -> None:
    """npm uses the registry that its user has configured."""
    for path in ROOT.glob("tests/**/package-lock.json"):
        packages = json.loads(path.read_text(encoding="utf-8"))["packages"]
        packages.pop("")  # the project itself
        assert packages
        assert [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")] == []
        assert [name for name, package in packages.items() if "resolved" in package] == []


def test_uv_is_installed_by_its_hash() -> None:
    """The demo and `make` use the same file; `uv` has wheels for every platform and no dependencies."""
    text = UV_REQUIREMENTS.read_text(encoding="utf-8")
    assert re.findall(r"^(\S+?)==", text, flags=re.MULTILINE) == ["uv"]
    assert len(re.findall(HASH, text)) > 10
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"UV_REQUIREMENTS := server/dagcall/demo/{UV_REQUIREMENTS.name}\n" in makefile
    (install,) = re.findall(r"pip install.*", makefile)
    assert install.endswith(" --require-hashes --only-binary :all: -r $(UV_REQUIREMENTS)")


@pytest.mark.parametrize("name", ["Makefile", "deploy/docker/Dockerfile"])
def test_wheel_is_built_by_tools_with_the_right_hashes(name: str) -> None:
    builds = re.findall(r"(?:uv|\(UV\)) build .*", (ROOT / name).read_text(encoding="utf-8"))
    assert builds
    assert [line for line in builds if "build-tools.txt --require-hashes" not in line] == []


def test_uv_in_the_current_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo may be started in an untrusted folder."""
    planted = tmp_path / ".tools" / "bin" / "uv"
    planted.parent.mkdir(parents=True)
    planted.write_text("#!/bin/sh\n")
    planted.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert find_uv({"PATH": ""}) != str(planted)
