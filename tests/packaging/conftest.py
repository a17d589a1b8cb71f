"""The distributions, and the tools that check packages."""

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from dagcall.demo.installation import cache_folder, find_uv, install_uv
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask
from tests.fake_airflow.serving import served
from tests.packaging.packages import ROOT
from tests.packaging.tools import Tools, installed_tools
from tests.support.terminal import terminal_of

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


@pytest.fixture(scope="package")
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    terminal_of(request.config)("building wheel and sdist")
    own = os.environ.items()  # noqa: TID251 - a child process starts with its parent's environment
    environ = {name: value for name, value in own if not _FOREIGN.match(name)}
    uv = find_uv(environ) or asyncio.run(_fetched_uv(environ))
    place = Place(tmp_path_factory.mktemp("distribution"), uv, environ)
    hashes: list[str | Path] = ["--build-constraints", ROOT / "deploy" / "build-tools.txt", "--require-hashes"]
    place.run(uv, "build", "--quiet", *hashes, "--out-dir", place.path / "dist", ROOT)
    (wheel,) = (place.path / "dist").glob("*.whl")
    (sdist,) = (place.path / "dist").glob("*.tar.gz")
    return Built(wheel, sdist, place)


async def _fetched_uv(environ: Mapping[str, str]) -> str:
    cache = cache_folder(environ)
    cache.mkdir(parents=True, exist_ok=True)
    return await install_uv(cache, environ, lambda _: None)


@pytest.fixture
def airflow_url() -> Iterator[str]:
    """Serve an Airflow whose dag `add` adds one; its user is `admin`, with the same password."""
    airflow = FakeAirflow("3.3.2")
    airflow.add_dag(FakeDag("add", params={"x": 1}, tasks=[FakeTask("one", lambda params: params["x"] + 1)]))
    with served(airflow) as url:
        yield url


@pytest.fixture(scope="package")
def tools(request: pytest.FixtureRequest) -> Tools:
    return installed_tools(terminal_of(request.config))
