"""What commands read from Airflow, and how they run."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from dagcall.errors import ConfigError
from dagcall.settings import Settings
from dagcall.tools import Pins, Snapshot, own_tools, wire_json

T = TypeVar("T")


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; Ctrl-C ends the process with code 130."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except ExceptionGroup as group:  # the SDK's client runs in a task group, which wraps every exception
        from dagcall.cli.remote import first_leaf  # noqa: PLC0415 - slow to import

        raise first_leaf(group) from group


async def read_snapshot(settings: Settings, *, read_pins: Callable[[], Pins] | None = None) -> Snapshot:
    """Read what is published and what is withheld."""
    from dagcall.app import assembled  # noqa: PLC0415 - slow to import

    async with assembled(settings, wait_seconds=0, read_pins=read_pins) as dagcall:
        return await dagcall.catalog.refresh()


def require_answer(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot.

    Raises:
        ConfigError: Airflow did not answer as the snapshot was made.
    """
    if snapshot.problem:
        raise ConfigError(snapshot.problem)
    return snapshot


def published_by(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """Return everything that agents see, including dagcall's own tools, by name."""
    wires = [*(tool.wire for tool in snapshot.tools.values()), *own_tools()]
    return {wire.name: wire_json(wire) for wire in wires}
