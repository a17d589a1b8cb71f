"""Environments of their own for clients whose libraries do not go with this project's."""

import asyncio
from pathlib import Path

import pytest

from dagcall.demo.installation import make_environment
from tests.e2e.commands import clean_environ
from tests.support.terminal import terminal_of

REQUIREMENTS = Path(__file__).parent / "requirements"


def interpreter_of(name: str, config: pytest.Config) -> Path:
    """Return the interpreter of an environment; it is made if it is not there yet, and kept for the next time.

    Args:
        name: of its file in `requirements/`, such as `mcp-1.30.0`.
        config: whose terminal is told.
    """
    terminal_of(config)(f"{name}: an environment of its own, which is made if it is not there yet")
    return asyncio.run(make_environment(name, REQUIREMENTS / f"{name}.txt", environ=clean_environ()))
