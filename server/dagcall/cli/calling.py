"""One call from a terminal: its arguments, its progress, and its run's questions to the user."""

import json
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from mcp_types import (
    CallToolResult,
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitResult,
    RequestParamsMeta,
    TextContent,
)
from mcp_types import Tool as WireTool
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from dagcall.cli.prompt import fill_in
from dagcall.cli.words import arguments_from_words
from dagcall.errors import ConfigError
from dagcall.settings import Settings
from dagcall.text import visible
from dagcall.tools import Pins

ROUNDS = 100
"""How often one call may ask its user something."""


async def call_tool(
    target: Settings | str,
    tool: str,
    arguments_for: Callable[[WireTool | None], dict[str, Any]],
    wait: float,
    *,
    credential: str | None,
    read_pins: Callable[[], Pins] | None,
) -> CallToolResult:
    """Call a tool of the server at a URL, with a token or key, or of a server in this process, with the same client."""
    from mcp import Client, MCPError  # noqa: PLC0415 - likewise

    from dagcall.app import assembled  # noqa: PLC0415 - likewise
    from dagcall.cli.remote import connected  # noqa: PLC0415 - likewise
    from dagcall.runs import META_IDEMPOTENCY_KEY  # noqa: PLC0415 - likewise

    console = Console(stderr=True)
    with _bar(console) as bar:
        shown = bar.add_task("asking Airflow for its tools", total=None)

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            bar.update(shown, description=f"{tool}: {visible(message or '')}", completed=progress, total=total)

        async def on_question(context: Any, params: ElicitRequestParams) -> ElicitResult:  # noqa: ARG001 - likewise
            if not isinstance(params, ElicitRequestFormParams):
                return ElicitResult(action="decline")
            bar.stop()
            try:  # blocking, because nothing else should happen meanwhile
                return fill_in(params.message, params.requested_schema, console)
            finally:
                bar.start()

        person = on_question if sys.stdin.isatty() else None
        asking: dict[str, Any] = {"elicitation_callback": person, "input_required_max_rounds": ROUNDS}

        async def call_with(client: Client) -> CallToolResult:
            wires = {wire.name: wire for wire in (await client.list_tools()).tools}
            arguments = arguments_for(wires.get(tool))
            try:
                # A new key each time, because a command typed twice is meant twice.
                # The token requests progress: if client and server share a process, the SDK sends none.
                meta = cast("RequestParamsMeta", {META_IDEMPOTENCY_KEY: secrets.token_urlsafe(), "progressToken": 1})
                return await client.call_tool(tool, arguments, progress_callback=on_progress, meta=meta)
            except MCPError as error:  # outside the client, it would be in an ExceptionGroup
                return CallToolResult(is_error=True, content=[TextContent(type="text", text=error.message)])

        if isinstance(target, str):
            async with connected(target, credential, **asking) as client:
                return await call_with(client)
        async with assembled(target, wait_seconds=wait, read_pins=read_pins) as dagcall:
            for only in (tool, None):  # all, if there is no such dag: for dagcall's own tools, and for suggestions
                snapshot = await dagcall.catalog.refresh(only=only)
                if tool in snapshot.tools or snapshot.problem:
                    break
            async with Client(dagcall.mcp.sdk, **asking) as client:
                return await call_with(client)


def _bar(console: Console) -> Progress:
    """Return a line with a bar, which moves to and fro until the number of tasks is known."""
    columns = (SpinnerColumn(), BarColumn(20), TextColumn("{task.description}", markup=False))
    return Progress(*columns, console=console, transient=True)


def arguments_of(wire: WireTool | None, words: list[str], text: str | None) -> dict[str, Any]:
    """Return the arguments of a call from the command's words and the JSON of `--args`; the words override it.

    Raises:
        ConfigError: they are invalid.
    """
    try:
        given = json.loads(text or "{}")
    except ValueError as error:
        raise ConfigError(f"--args is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise ConfigError("--args is not a JSON object")
    try:
        return {**given} | arguments_from_words(words, wire.input_schema if wire else {}, read_file=_read_text)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
