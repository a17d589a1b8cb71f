"""The content of the wheel and the sdist, and the unit tests on the installed wheel."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from dagcall.demo.installation import UV_REQUIREMENTS, InstallationError, cache_folder, find_uv, install_uv
from tests.support.terminal import terminal_of

ROOT = Path(__file__).parents[2]
COMMAND_SECONDS = 600.0
#: Variables in the developer's environment that would make the checkout importable.
_FOREIGN = re.compile(r"DAGCALL_|PYTHON|PYTEST|VIRTUAL_ENV|COVERAGE|FORCE_COLOR|PY_COLORS|GITHUB_ACTIONS|TTY_|COLUMNS")


@dataclass(frozen=True)
class Place:
    """A folder in which the checkout is not importable."""

    path: Path
    uv: str
    environ: Mapping[str, str]

    def run(self, *command: str | Path, folder: Path | None = None) -> str:
        """Run a command; return its output.

        Raises:
            AssertionError: it failed; the message contains its output.
        """
        done = subprocess.run(  # noqa: S603 - our own commands
            command,
            env=self.environ,
            cwd=folder or self.path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
        return done.stdout


@dataclass(frozen=True)
class Built:
    """The built distributions."""

    wheel: Path
    sdist: Path
    place: Place


@pytest.fixture(scope="module")
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    terminal_of(request.config)("building wheel and sdist")
    own = os.environ.items()  # noqa: TID251 - a child process starts with its parent's environment
    environ = {name: value for name, value in own if not _FOREIGN.match(name)}
    uv = find_uv(environ) or asyncio.run(_fetched_uv(environ))
    place = Place(tmp_path_factory.mktemp("distribution"), uv, environ)
    place.run(uv, "build", "--quiet", "--out-dir", place.path / "dist", ROOT)
    (wheel,) = (place.path / "dist").glob("*.whl")
    (sdist,) = (place.path / "dist").glob("*.tar.gz")
    return Built(wheel, sdist, place)


async def _fetched_uv(environ: Mapping[str, str]) -> str:
    cache = cache_folder(environ)
    cache.mkdir(parents=True, exist_ok=True)
    return await install_uv(cache, environ, lambda _: None)


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
        "pyproject.toml",
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
    """The wheel in a separate environment, with the locked test dependencies."""
    terminal_of(request.config)("installing the wheel into a separate environment")
    place = built.place
    with tarfile.open(built.sdist) as sdist:
        sdist.extractall(place.path, filter="data")
    source = place.path / built.sdist.name.removesuffix(".tar.gz")
    environment = place.path / "environment"
    place.run(place.uv, "venv", "--quiet", "--python", sys.executable, environment)
    pins = place.path / "pins.txt"
    pins.write_text(place.run(place.uv, "export", "--frozen", "--quiet", "--no-emit-project", folder=source))
    install: list[str | Path] = [place.uv, "pip", "install", "--quiet", "--python", environment / "bin" / "python"]
    place.run(*install, "--requirements", pins)
    place.run(*install, "--no-deps", built.wheel)
    shutil.rmtree(source / "server" / "dagcall")
    return Installed(environment / "bin", source, place)


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


FOLDERS = ("tests/unit", "tests/server", "tests/project")


def test_unit_tests_pass_with_the_installed_wheel(installed: Installed) -> None:
    where = installed.run("python", "-c", "import dagcall; print(dagcall.__file__)")
    assert Path(where.strip()).is_relative_to(installed.bin.parent)
    said = installed.run(
        "pytest", "-q", "-p", "no:cacheprovider", "--numprocesses", "auto", "tests/unit", "tests/server"
    )
    assert re.search(r"\d+ passed", said)
