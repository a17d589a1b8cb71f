"""The tools that build and check the packages, installed from PyPI and npm into environments of their own."""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagcall.demo.installation import cache_folder, find_uv, install_uv, make_environment
from tests.support.commands import clean_environ
from tests.support.node import NodeProject, node_project

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements" / "packaging-tools.txt"
TOOL_SECONDS = 600.0
"""Longer than any tool takes, so that a hanging one fails its test."""


@dataclass(frozen=True)
class Tools:
    """What is installed."""

    uv: str
    bin: Path
    """The folder with Python and the programs of `packaging-tools.txt`."""
    node: NodeProject
    """`mcpb`, and the schemas of resources that Kubernetes itself does not have."""

    def try_to_run(
        self, *command: str | Path, folder: Path | None = None, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, looked up among the tools first; the caller checks the exit code."""
        program = self.bin / command[0]
        return subprocess.run(  # noqa: S603 - a locked tool
            [program if program.exists() else command[0], *command[1:]],
            cwd=folder,
            env=own_environ() if environ is None else environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TOOL_SECONDS,
        )

    def run(self, *command: str | Path, folder: Path | None = None) -> str:
        """Run a command, likewise; return its output.

        Raises:
            ToolError: it failed.
        """
        return output_of(self.try_to_run(*command, folder=folder))

    def helm(self, action: str, *words: str | Path) -> Any:
        """Run an action of `programs/helm_chart.py`; return its answer.

        Raises:
            ToolError: it failed.
        """
        return json.loads(self.run("python", HERE / "programs" / "helm_chart.py", action, *words))

    def run_node(self, program: str, *words: str | Path) -> str:
        """Run one of npm's programs; return its output.

        Raises:
            ToolError: it failed.
        """
        return output_of(self.node.run(program, *map(str, words)))


def own_environ(**more: str) -> dict[str, str]:
    """Return this process's environment without the variables that affect dagcall, plus `more`."""
    clean = clean_environ(**more)
    return {name: value for name, value in clean.items() if value != os.devnull}  # uv wants a folder for its data


class ToolError(Exception):
    """A tool failed; the message is its output."""


def output_of(done: subprocess.CompletedProcess[str]) -> str:
    """Return the output of a command.

    Raises:
        ToolError: it failed.
    """
    if done.returncode:
        raise ToolError(f"{' '.join(map(str, done.args))}:\n{done.stdout}{done.stderr}")
    return done.stdout


def installed_tools(tell: Callable[[str], None]) -> Tools:
    """Return the tools; install those that are missing."""
    tell("the tools for packages, installed if they are missing")
    environ = clean_environ()
    python = asyncio.run(make_environment(REQUIREMENTS.stem, REQUIREMENTS, environ=environ))
    uv = find_uv(dict(os.environ)) or asyncio.run(install_uv(cache_folder(environ), environ, lambda _: None))  # noqa: TID251 - where uv is looked for
    return Tools(uv, python.parent, node_project(HERE / "validators", tell))
