"""The command line: `dagcall serve | tools | call | pin | check | demo`.

Wiring, logging and exit codes: 0 it worked; 1 it did not (a tool failed, a pin differs, Airflow is away); 2 the
settings or the command need mending. Answers go to stdout, everything else to stderr.
"""

import asyncio
import json
import logging
import os
import secrets
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer
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
from rich.table import Table
from rich.text import Text

from dagcall.arguments import arguments_from_words
from dagcall.catalog import Snapshot
from dagcall.config import Settings, find_config, is_configured_by_environment, load_settings
from dagcall.errors import ConfigError, DagcallError
from dagcall.pins import differences, pin_text
from dagcall.prose import visible
from dagcall.questionnaire import fill_in
from dagcall.tools import own_tools, wire_json

T = TypeVar("T")

PIN_FOLDER = "tool_schemas"
ROUNDS = 100
"""How often one call may ask its user something."""

app = typer.Typer(
    name="dagcall",
    help="Publish Airflow dags as MCP tools: each allow-listed dag becomes a function that an agent can call.",
    epilog="New here? `dagcall demo` starts a real Airflow with example dags, and dagcall in front of it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="The settings file. Else $DAGCALL_CONFIG, else ./dagcall.toml, else the demo's.",
        show_default=False,
    ),
]
FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--dir", help=f"The folder of pins. Else `pins` in the settings, else ./{PIN_FOLDER}.", show_default=False
    ),
]


def main() -> None:
    """Run the command line."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.ERROR, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        app()
    except ConfigError as error:
        _complain(str(error))
        raise SystemExit(2) from error
    except DagcallError as error:
        _complain(str(error))
        raise SystemExit(1) from error
    except BrokenPipeError:  # the reader has gone, as in `dagcall tools | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


@app.command()
def serve(
    *,
    config: ConfigOption = None,
    stdio: Annotated[
        bool, typer.Option("--stdio", help="Serve one client over stdin and stdout, as desktop clients want it.")
    ] = False,
    host: Annotated[
        str | None, typer.Option(help="The address to listen on; of this machine only.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.", show_default="8000")] = None,
    pinned: Annotated[bool, typer.Option("--pinned", help="Withhold every tool that differs from its pin.")] = False,
    folder: FolderOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Serve the tools over HTTP or stdio.

    Streamable HTTP at http://127.0.0.1:8000/mcp, for as many clients as come, with /health and /ready beside it; or,
    with --stdio, one client that starts this command.
    """
    from dagcall.serve import serve_http, serve_stdio  # noqa: PLC0415 - what serves takes long to import

    settings = _settings(config, host=host, port=port)
    pins = _read_pins(_pin_folder(settings, folder), is_needed=True) if pinned else None
    _set_up_logging(verbose=verbose)
    if not settings.policies:
        logging.getLogger(__name__).warning(
            "nothing is published: the allow-list is empty; add [[tools]] to the settings, or set DAGCALL_DAGS"
        )
    if stdio:
        _run(serve_stdio(settings, pins=pins))
        return

    def on_ready(url: str) -> None:
        _say(f"dagcall serves {settings.airflow.url} at {url} (Ctrl-C stops it)")

    _run(serve_http(settings, host=settings.server.host, port=settings.server.port, pins=pins, on_ready=on_ready))


@app.command()
def tools(
    *,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tools as they go over the wire.")] = False,
) -> None:
    """Show what is published, and why the rest is not."""
    snapshot = _run(_snapshot(_settings(config)))
    if as_json:
        content = {
            "tools": [wire_json(tool.wire) for tool in snapshot.tools.values()],
            "withheld": [{"what": item.what, "reason": item.reason} for item in snapshot.withheld],
            "problem": snapshot.problem,
        }
        print(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        _show(snapshot)
    if snapshot.problem:
        _complain(snapshot.problem)
        raise typer.Exit(1)


@app.command()
def call(
    tool: Annotated[str, typer.Argument(help="The tool's name, as `dagcall tools` shows it.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE...", help="Arguments; key=@file takes the value from a file.", show_default=False
        ),
    ] = None,
    *,
    arguments: Annotated[
        str | None, typer.Option("--args", help="Arguments as one JSON object.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    url: Annotated[
        str | None,
        typer.Option(help="Call a server that runs already, e.g. http://127.0.0.1:8000/mcp.", show_default=False),
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the run.", min=0.1)] = 3600.0,
) -> None:
    """Call a tool the way an agent does, and print its answer as JSON."""
    target = url or _settings(config)
    result = _run(_call(target, tool, lambda wire: _arguments(wire, words or [], arguments), wait))
    text = "\n".join(getattr(block, "text", "") for block in result.content)
    if result.is_error:
        _complain(text)
        raise typer.Exit(1)
    if sys.stdout.isatty():
        Console().print_json(text)
    else:
        print(json.dumps(json.loads(text), indent=2, ensure_ascii=False))


@app.command()
def pin(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="TOOL...", help="The tools to pin; all without.", show_default=False)
    ] = None,
    *,
    config: ConfigOption = None,
    folder: FolderOption = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove the pins of tools that are not published.")] = False,
) -> None:
    """Write what agents see into files to review and keep: one for each tool."""
    settings = _settings(config)
    target = _pin_folder(settings, folder)
    published = _published(_require_answer(_run(_snapshot(settings))))
    if unknown := sorted(set(names or ()) - published.keys()):
        raise ConfigError(f"there is no published tool {unknown[0]!r} to pin; `dagcall tools` says why")
    target.mkdir(parents=True, exist_ok=True)
    pinned = _read_pins(target)
    for name in names or published:
        changed = pinned.get(name) != published[name]
        (target / f"{name}.json").write_text(pin_text(published[name]), encoding="utf-8")
        print(f"{'pinned' if changed else 'unchanged'}: {target / f'{name}.json'}")
    for name in sorted(pinned.keys() - published.keys()):
        if prune:
            (target / f"{name}.json").unlink()
        print(f"{'removed' if prune else 'not published any more (--prune removes it)'}: {target / f'{name}.json'}")


@app.command()
def check(*, config: ConfigOption = None, folder: FolderOption = None) -> None:
    """Compare what is published with the pins; print the differences and fail if there are any."""
    settings = _settings(config)
    target = _pin_folder(settings, folder)
    found = differences(_read_pins(target, is_needed=True), _published(_require_answer(_run(_snapshot(settings)))))
    for name, text in found.items():
        print(f"{name}: {text}" if "\n" not in text and not text.endswith(":") else f"{name}:\n{_indented(text)}")
    if found:
        tools_differ = (
            "1 tool differs from its pin" if len(found) == 1 else f"{len(found)} tools differ from their pins"
        )
        _complain(f"{tools_differ} in {target}; review, then: dagcall pin")
        raise typer.Exit(1)
    print(f"all tools are as pinned in {target}")


@app.command()
def demo(
    *,
    port: Annotated[int, typer.Option(help="The port of dagcall.")] = 8000,
    airflow_port: Annotated[int, typer.Option(help="The port of Airflow.")] = 8080,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Where the demo keeps its files.", show_default="the user's data folder"),
    ] = None,
) -> None:
    """Start a real Airflow with example dags, and dagcall in front of it; Ctrl-C stops both."""
    from dagcall.demo.command import run_demo  # noqa: PLC0415 - only the demo needs the demo

    raise typer.Exit(run_demo(directory=folder, host_port=port, airflow_port=airflow_port, console=Console()))


# Settings


def _settings(config: Path | None, **server: Any) -> Settings:
    path = find_config(config)
    if path is None and not is_configured_by_environment():
        from dagcall.demo.command import default_folder  # noqa: PLC0415 - only where nothing else is configured

        path = default_folder(os.environ) / "dagcall.toml"  # noqa: TID251 - where the demo's files are is its business
        if not path.is_file():
            load_settings(None)  # where a variable is misspelt, that is the mistake to name
            raise ConfigError(
                "dagcall does not know which Airflow to use: write a dagcall.toml here, name one with --config, or set "
                "DAGCALL_AIRFLOW_URL and DAGCALL_DAGS. To try it out without an Airflow: dagcall demo"
            )
        _say(f"using the demo's settings, {path}")
    return load_settings(path, server={key: value for key, value in server.items() if value is not None})


def _pin_folder(settings: Settings, given: Path | None) -> Path:
    return given or settings.pins or Path(PIN_FOLDER)


def _read_pins(folder: Path, *, is_needed: bool = False) -> dict[str, dict[str, Any]]:
    if is_needed and not folder.is_dir():
        raise ConfigError(f"there is no folder of pins {folder}; `dagcall pin` makes it")
    pins: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            pins[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"the pin {path} cannot be read: {error}") from error
    return pins


def _published(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """Return everything that agents see, dagcall's own tools included, by name."""
    wires = [*(tool.wire for tool in snapshot.tools.values()), *own_tools()]
    return {wire.name: wire_json(wire) for wire in wires}


# Doing


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except ExceptionGroup as group:  # the SDK's client runs in a task group, which wraps whatever leaves it
        raise _first_leaf(group) from group


def _first_leaf(error: Exception) -> Exception:
    return _first_leaf(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


async def _snapshot(settings: Settings) -> Snapshot:
    from dagcall.assembly import assembled  # noqa: PLC0415 - what serves takes long to import

    async with assembled(settings, wait_seconds=0) as dagcall:
        return await dagcall.catalog.refresh()


def _require_answer(snapshot: Snapshot) -> Snapshot:
    if snapshot.problem:
        raise ConfigError(snapshot.problem)
    return snapshot


async def _call(
    target: Settings | str, tool: str, arguments_for: Callable[[WireTool | None], dict[str, Any]], wait: float
) -> CallToolResult:
    """Call a tool: of the server at a URL, or of one in this process, over the same client."""
    from mcp import Client, MCPError  # noqa: PLC0415 - likewise

    from dagcall.assembly import assembled  # noqa: PLC0415 - likewise
    from dagcall.starting import META_IDEMPOTENCY_KEY  # noqa: PLC0415 - likewise

    console = Console(stderr=True)
    with console.status("asking Airflow for its tools") as status:

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001 - the SDK's names
            status.update(Text(f"{tool}: {visible(message or '')}"))

        async def on_question(context: Any, params: ElicitRequestParams) -> ElicitResult:  # noqa: ARG001 - likewise
            if not isinstance(params, ElicitRequestFormParams):
                return ElicitResult(action="decline")
            status.stop()
            try:  # blocking, for nothing else is to happen meanwhile
                return fill_in(params.message, params.requested_schema, console)
            finally:
                status.start()

        person = on_question if sys.stdin.isatty() else None

        async def call_with(client: Client) -> CallToolResult:
            wires = {wire.name: wire for wire in (await client.list_tools()).tools}
            arguments = arguments_for(wires.get(tool))
            try:
                # A key of its own: whoever types a command twice means it twice.
                # The token says that progress is wanted: where client and server share a process, the SDK sends none.
                meta = cast("RequestParamsMeta", {META_IDEMPOTENCY_KEY: secrets.token_urlsafe(), "progressToken": 1})
                return await client.call_tool(tool, arguments, progress_callback=on_progress, meta=meta)
            except MCPError as error:  # caught here: outside the client it would come in an ExceptionGroup
                return CallToolResult(is_error=True, content=[TextContent(type="text", text=error.message)])

        if isinstance(target, str):
            try:
                async with Client(target, elicitation_callback=person, input_required_max_rounds=ROUNDS) as client:
                    return await call_with(client)
            except ExceptionGroup as group:
                if isinstance(leaf := _first_leaf(group), DagcallError):
                    raise
                raise DagcallError(
                    f"no MCP server can be called at {target}: {str(leaf) or type(leaf).__name__}"
                ) from group
        async with assembled(target, wait_seconds=wait) as dagcall:
            await dagcall.catalog.refresh()
            async with Client(dagcall.mcp.sdk, elicitation_callback=person, input_required_max_rounds=ROUNDS) as client:
                return await call_with(client)


def _arguments(wire: WireTool | None, words: list[str], text: str | None) -> dict[str, Any]:
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


# Showing


def _show(snapshot: Snapshot) -> None:
    console = Console()
    if snapshot.tools:
        table = Table(
            "tool", "dag", "arguments (* required)", title="published", title_justify="left", show_lines=False
        )
        for name, tool in snapshot.tools.items():
            required = tool.wire.input_schema["required"]
            arguments = ", ".join(f"{key}*" if key in required else key for key in tool.input.properties)
            table.add_row(Text(name), Text(visible(tool.dag_id)), Text(arguments or "none"))
        console.print(table)
    else:
        console.print("Nothing is published.")
    if snapshot.withheld:
        table = Table("dag or selector", "reason", title="not published", title_justify="left")
        for item in snapshot.withheld:
            table.add_row(Text(visible(item.what)), Text(visible(item.reason)))
        console.print(table)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _complain(text: str) -> None:
    """Print an error; text from elsewhere cannot steer the terminal."""
    print(visible(text), file=sys.stderr, flush=True)


def _set_up_logging(*, verbose: bool) -> None:
    """Say what goes on, on stderr: on stdio, stdout belongs to the protocol. Other commands print what matters."""
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("stamina").setLevel(logging.WARNING if verbose else logging.ERROR)
    logging.getLogger("dagcall").setLevel(logging.DEBUG if verbose else logging.INFO)
