"""Separate environments for clients whose libraries conflict with the project's."""

import asyncio
from pathlib import Path

import pytest

from dagcall.demo.installation import make_environment
from tests.support.commands import clean_environ
from tests.support.terminal import terminal_of

REQUIREMENTS = Path(__file__).parent / "requirements"


def interpreter_of(name: str, config: pytest.Config) -> Path:
    """Return the interpreter of an environment; create the environment if it does not exist yet.

    Args:
        name: the name of its file in `requirements/`, such as `mcp-1.30.0`.
        config: pytest's configuration, for messages on the terminal.
    """
    terminal_of(config)(f"{name}: a separate environment, created if it does not exist yet")
    return asyncio.run(make_environment(name, REQUIREMENTS / f"{name}.txt", environ=clean_environ()))
