"""Airflow's virtual environment: created once by `uv` from a requirement file with hashes, then shared.

dagcall and Airflow have separate environments. An environment is stored in the user's cache folder under a name derived
from the requirements and the Python version, so a changed requirement file gets a new environment.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from dagcall.demo.processes import CHILD

AIRFLOW_VERSION = "3.3.2"
REQUIREMENTS = Path(__file__).parent / f"airflow-{AIRFLOW_VERSION}.txt"
UV_REQUIREMENTS = Path(__file__).parent / "uv.txt"
_CHECKOUT = Path(__file__).parents[3]
#: Seconds between two attempts to acquire a lock.
LOCK_INTERVAL = 0.25


class InstallationError(Exception):
    """Airflow could not be installed."""


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder for environments: `$XDG_CACHE_HOME/dagcall` or `~/.cache/dagcall`."""
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dagcall"


def environment_folder(name: str, requirements: Path, cache: Path) -> Path:
    """Return the folder of the environment for these requirements and this Python."""
    content = requirements.read_bytes() + platform.python_version().encode() + platform.machine().encode()
    return cache / f"{name}-{hashlib.sha256(content).hexdigest()[:10]}"


async def make_environment(
    name: str,
    requirements: Path,
    *,
    environ: Mapping[str, str],
    report: Callable[[str], None] = lambda _: None,
) -> Path:
    """Return the Python interpreter of an environment with exactly `requirements`; create it if it does not exist.

    Args:
        name: the beginning of the folder's name, such as `airflow-3.3.2`.
        requirements: a file from `uv pip compile --generate-hashes`.
        environ: the caller's environment; its index and proxy settings apply to the installation.
        report: called often with a short progress note.

    Raises:
        InstallationError: with the last lines of uv's output.
    """
    cache = cache_folder(environ)
    folder = environment_folder(name, requirements, cache)
    ready, python = folder / ".ready", folder / "bin" / "python"
    if ready.exists() and python.exists():
        return python
    cache.mkdir(parents=True, exist_ok=True)
    settings = {key: value for key, value in environ.items() if not key.startswith("PYTHON") and key != "VIRTUAL_ENV"}
    async with exclusively(folder.with_name(f"{folder.name}.lock"), report):
        if ready.exists() and python.exists():
            return python
        shutil.rmtree(folder, ignore_errors=True)
        uv = find_uv(environ) or await install_uv(cache, settings, report)
        await run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], cache, settings, report)
        install = ["pip", "install", "--python", str(python), "--require-hashes", "--compile-bytecode"]
        await run([uv, *install, "-r", str(requirements)], cache, settings, report)
        ready.touch()
    return python


def find_uv(environ: Mapping[str, str]) -> str | None:
    """Return the path of `uv`: the one that started us, on PATH, beside our interpreter, or installed by `make`."""
    candidates = [
        environ.get("UV"),
        shutil.which("uv", path=environ.get("PATH")),
        Path(sys.executable).parent / "uv",
        _CHECKOUT / ".tools" / "bin" / "uv",  # never in the current folder, which may be untrusted
    ]
    return next((str(Path(path).absolute()) for path in candidates if path and os.access(path, os.X_OK)), None)


async def install_uv(cache: Path, environ: Mapping[str, str], report: Callable[[str], None]) -> str:
    """Install `uv` by its hash into a separate virtual environment in the cache folder; return its path."""
    folder = environment_folder("uv", UV_REQUIREMENTS, cache)
    uv = folder / "bin" / "uv"
    if not os.access(uv, os.X_OK):
        report("fetching uv")
        await run([sys.executable, "-m", "venv", "--clear", str(folder)], cache, environ, report)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        hashed = ["--require-hashes", "--only-binary", ":all:", "-r", str(UV_REQUIREMENTS)]
        await run([*pip, "install", *hashed], cache, environ, report)
    return str(uv)


async def run(command: list[str], folder: Path, environ: Mapping[str, str], report: Callable[[str], None]) -> None:
    """Run an installation command in `folder`, and report every line of its output.

    Raises:
        InstallationError: it failed.
    """
    tie = [sys.executable, "-I", str(CHILD), str(os.getpid()), "SIGTERM"]
    process = await asyncio.create_subprocess_exec(
        *tie,
        *command,
        cwd=folder,  # not the caller's folder, whose uv settings must not apply
        env=environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # so that Ctrl-C reaches it only once, through us
    )
    lines: list[str] = []
    try:
        assert process.stdout is not None  # noqa: S101 # PIPE above
        async for line in process.stdout:
            lines.append(line.decode(errors="replace").strip())
            report(lines[-1])
        code = await process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        await process.wait()
        raise
    if code:
        said = "\n".join(f"  {line}" for line in lines[-12:])
        raise InstallationError(f"`{Path(command[0]).name} {' '.join(command[1:3])} …` failed:\n{said}")


@contextlib.asynccontextmanager
async def exclusively(path: Path, report: Callable[[str], None]) -> AsyncIterator[None]:
    """Hold the lock file `path`; the kernel releases it when the process ends, even after a crash."""
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report("another process is installing the same environment; waiting for it")
                await asyncio.sleep(LOCK_INTERVAL)
            else:
                break
        yield
