"""The content of the wheel and the sdist, and the wheel where nothing else of the checkout is."""

import asyncio
import re
import shutil
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from dagcall.demo.installation import UV_REQUIREMENTS, InstallationError, install_uv
from tests.packaging.conftest import Built, Place
from tests.packaging.packages import REQUIREMENTS, ROOT
from tests.support.serving_process import environ_for, http_server
from tests.support.terminal import terminal_of


def test_wheel_contains_only_the_package(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {re.sub(r"-[^-]*\.dist-info$", ".dist-info", top) for top in tops} == {"dagcall", "dagcall.dist-info"}
    package = ROOT / "server" / "dagcall"
    expected = {
        str(Path("dagcall") / path.relative_to(package))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if name.startswith("dagcall/")} == expected
    assert {
        "dagcall/py.typed",
        "dagcall/demo/airflow-3.3.2.txt",
        "dagcall/demo/uv.txt",
        "dagcall/demo/dags/submit_order.py",
        "dagcall/demo/dags/data/catalogue.csv",
    } <= expected


def test_sdist_contains_what_a_packager_needs(built: Built) -> None:
    with tarfile.open(built.sdist) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {
        "LICENSE",
        "Makefile",
        "README.md",
        "deploy/docker/Dockerfile",
        "deploy/helm/dagcall/values.yaml",
        "deploy/mcpb/icon.png",
        "deploy/systemd/dagcall.service",
        "pyproject.toml",
        "server.json",
        "server/dagcall/__init__.py",
        "tests/unit/tools/test_input_schema.py",
        "tests/e2e/dags/factorial.py",
        "tests/contract/requirements/airflow-3.1.8.txt",
        "tool_schemas/submit_order.json",
        "uv.lock",
    } <= names
    assert not {name for name in names if "__pycache__" in name or name.startswith((".venv", ".git/"))}


@dataclass(frozen=True)
class Installed:
    """The installed wheel, and the unpacked sdist without the package."""

    bin: Path
    source: Path
    place: Place

    def run(self, command: str, *words: str) -> str:
        """Run a command of the environment in the folder of the sdist."""
        return self.place.run(self.bin / command, *words, folder=self.source)


@pytest.fixture(scope="module")
def installed(request: pytest.FixtureRequest, built: Built) -> Installed:
    """The wheel in a separate environment, with what it needs to run and nothing else."""
    terminal_of(request.config)("installing the wheel into a separate environment")
    return _installed(built, "environment", REQUIREMENTS)


def _installed(built: Built, name: str, export: list[str]) -> Installed:
    place = built.place
    folder = place.path / name
    folder.mkdir()
    place.run("tar", "-xzf", built.sdist, "-C", folder)  # tarfile's filters are missing in Debian 12's Python 3.11.2
    source = folder / built.sdist.name.removesuffix(".tar.gz")
    python = folder / "venv" / "bin" / "python"
    place.run(place.uv, "venv", "--quiet", "--python", sys.executable, python.parents[1])
    requirements = folder / "requirements.txt"
    requirements.write_text(place.run(place.uv, *export, folder=source))
    install: list[str | Path] = [place.uv, "pip", "install", "--quiet", "--python", python]
    place.run(*install, "--require-hashes", "--requirements", requirements)
    place.run(*install, "--no-deps", built.wheel)
    shutil.rmtree(source / "server" / "dagcall")
    return Installed(python.parent, source, place)


def test_uv_is_installed_only_with_the_right_hash(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    place = built.place
    cache = place.path / "cache"
    cache.mkdir()
    uv = asyncio.run(install_uv(cache, place.environ, lambda _: None))
    assert place.run(uv, "--version").startswith("uv ")

    other = place.path / "uv.txt"
    other.write_text(re.sub("[0-9a-f]{64}", "0" * 64, UV_REQUIREMENTS.read_text(encoding="utf-8")), encoding="utf-8")
    monkeypatch.setattr("dagcall.demo.installation.UV_REQUIREMENTS", other)
    with pytest.raises(InstallationError, match=r"Expected .* 0{64}"):
        asyncio.run(install_uv(cache, place.environ, lambda _: None))


def test_installed_command_works(installed: Installed) -> None:
    assert "Publish Airflow dags as MCP tools" in installed.run("dagcall", "--help")
    assert "Start a real Airflow with example dags" in installed.run("dagcall", "demo", "--help")
    assert "Usage: " in installed.run("python", "-m", "dagcall", "--help")
    assert '"title": "dagcall.toml"' in installed.run("dagcall", "schema")


IMPORT_ALL = """
import importlib, pkgutil, dagcall
print(dagcall.__file__)
for module in pkgutil.walk_packages(dagcall.__path__, "dagcall."):
    if not module.name.endswith(("__main__", "parse_dags")):  # parse_dags runs in Airflow's environment
        importlib.import_module(module.name)
        print(module.name)
"""


def test_every_module_needs_only_what_the_wheel_names(installed: Installed) -> None:
    where, *modules = installed.run("python", "-I", "-c", IMPORT_ALL).splitlines()
    assert Path(where).is_relative_to(installed.bin.parent)
    assert len(modules) > 100
    assert installed.place.run(installed.place.uv, "pip", "check", "--python", installed.bin / "python") == ""


async def test_installed_wheel_serves_calls_over_http(installed: Installed, airflow_url: str) -> None:
    with http_server(environ_for(airflow_url), [str(installed.bin / "dagcall")]) as server:
        assert await sum_by(server.url) == 42
        assert server.stop()[0] == 0


async def test_installed_wheel_serves_calls_over_stdio(installed: Installed, airflow_url: str) -> None:
    command = StdioServerParameters(
        command=str(installed.bin / "dagcall"), args=["serve", "--stdio"], env=environ_for(airflow_url), cwd="/"
    )
    assert await sum_by(stdio_client(command)) == 42


async def sum_by(server: Any) -> int:
    """Call the tool `add` of a server."""
    async with Client(server) as client:
        result = await client.call_tool("add", {"x": 41})
    assert result.structured_content is not None
    found: int = result.structured_content["results"]["one"]
    return found


@pytest.mark.long
def test_unit_tests_pass_with_the_installed_wheel(request: pytest.FixtureRequest, built: Built) -> None:
    terminal_of(request.config)("the unit tests again, with the installed wheel")
    installed = _installed(built, "tested", [word for word in REQUIREMENTS if word != "--no-dev"])
    where = installed.run("python", "-c", "import dagcall; print(dagcall.__file__)")
    assert Path(where.strip()).is_relative_to(installed.bin.parent)
    said = installed.run(
        "pytest", "-q", "-p", "no:cacheprovider", "--numprocesses", "auto", "tests/unit", "tests/server"
    )
    assert re.search(r"\d+ passed", said)
