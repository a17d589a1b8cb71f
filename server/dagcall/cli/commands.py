"""The command line: `dagcall init | serve | tools | call | …`.

Exit codes: 0 success; 1 failure (a tool failed, a pin differs, a tool breaks a rule, Airflow is unavailable); 2 the
settings or the command line are invalid. Answers go to stdout, everything else to stderr.
"""

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from dagcall.auth import entry_of, new_key
from dagcall.cli.calling import arguments_of, call_tool
from dagcall.cli.config import show_config
from dagcall.cli.doctor import doctor
from dagcall.cli.init import init
from dagcall.cli.lint import lint
from dagcall.cli.logs import begin_logging, set_level, set_up_logging
from dagcall.cli.options import (
    AirflowPythonOption,
    ConfigOption,
    DagsOption,
    FolderOption,
    configured_pins,
    pin_folder_of,
    reader_of_pins,
    settings_at,
    settings_file,
)
from dagcall.cli.reading import (
    complain_about_files,
    dag_files_in,
    read_snapshot,
    require_answer,
    run_to_end,
)
from dagcall.cli.runs import show_runs
from dagcall.cli.terminal import complain, indented, say, show_answer
from dagcall.cli.tools import tools_app
from dagcall.errors import ConfigError, DagcallError
from dagcall.gc_tuning import loading
from dagcall.settings import SCHEMA_FILE, LogFormat, LogLevel, Settings, load_settings, read_secret
from dagcall.text import visible
from dagcall.tools import PinFolder, Pins, differences, names_alike, pin_text, published_by

ORDER = ("init", "doctor", "tools", "call", "runs", "lint", "pin", "check", "serve", "config", "key", "schema", "demo")
"""The commands as `dagcall --help` lists them: setting up, looking, reviewing, serving."""


class _Commands(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature is click's
        """Return the names of the commands in order."""
        return list(ORDER)


app = typer.Typer(
    cls=_Commands,
    name="dagcall",
    epilog="New here? `dagcall demo` starts a real Airflow with example dags, and dagcall in front of it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line."""
    begin_logging()
    try:
        app()
    except ConfigError as error:
        complain(str(error))
        raise SystemExit(2) from error
    except DagcallError as error:
        complain(str(error))
        raise SystemExit(1) from error
    except BrokenPipeError:  # the reader has closed the pipe, as in `dagcall tools | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _show_version(is_asked: bool) -> None:  # noqa: FBT001 - typer's form
    if is_asked:
        print(f"dagcall {version('dagcall')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Publish Airflow dags as MCP tools: each allow-listed dag becomes a function that an agent can call."""


app.command()(init)
app.command()(doctor)
app.add_typer(tools_app, name="tools")
app.command("runs")(show_runs)
app.command()(lint)
app.command("config")(show_config)


@app.command()
def serve(
    *,
    config: ConfigOption = None,
    stdio: Annotated[
        bool, typer.Option("--stdio", help="Serve one client over stdin and stdout, for desktop clients.")
    ] = False,
    host: Annotated[
        str | None,
        typer.Option(
            help="The address to listen on; an address beyond this machine requires [auth].", show_default="127.0.0.1"
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.", show_default="8000")] = None,
    pinned: Annotated[
        bool | None,
        typer.Option(
            "--pinned/--unpinned",
            help="Whether to withhold every tool that differs from its pin.",
            show_default="--pinned if the settings name a folder of pins",
        ),
    ] = None,
    folder: FolderOption = None,
    log_level: Annotated[
        LogLevel | None, typer.Option(help="The lowest level that is logged.", show_default="info")
    ] = None,
    log_format: Annotated[
        LogFormat | None, typer.Option(help="One JSON object per line, or text.", show_default="text")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more: --log-level debug.")] = False,
) -> None:
    """Serve the tools over HTTP or stdio.

    By default, any number of clients over Streamable HTTP at http://127.0.0.1:8000/mcp, with /health and /ready. With
    --stdio, the one client that starts this command.
    """
    with loading():
        from dagcall.cli.reload import Reloader  # noqa: PLC0415 - slow to import
        from dagcall.cli.serve import serve_http, serve_stdio  # noqa: PLC0415
        from dagcall.cli.traces import exported_traces  # noqa: PLC0415

    file = settings_file(config)
    server = {key: value for key, value in {"host": host, "port": port}.items() if value is not None}
    given_level: LogLevel | None = "debug" if verbose else log_level

    def reread() -> tuple[Settings, Callable[[], Pins] | None]:
        settings = load_settings(file, server=server)
        has_pins = settings.pins is not None or folder is not None
        is_pinned = has_pins if pinned is None else pinned
        return settings, reader_of_pins(pin_folder_of(settings, folder)) if is_pinned else None

    settings, read_pins = reread()
    set_up_logging(given_level or settings.log.level, log_format or settings.log.format)
    reloader = Reloader(settings, file, reread=reread, on_settings=lambda new: set_level(given_level or new.log.level))
    if not settings.policies:
        logging.getLogger(__name__).warning(
            "nothing is published: the allow-list is empty; add [[tools]] to the settings, or set DAGCALL_DAGS"
        )
    if stdio:
        with exported_traces():
            run_to_end(serve_stdio(settings, read_pins=read_pins, reloader=reloader))
        return

    def on_ready(url: str) -> None:
        announcement = f"dagcall serves {settings.airflow.url} at {url}"
        if (log_format or settings.log.format) == "json":
            logging.getLogger(__name__).info("%s", announcement)
        else:
            say(f"{announcement} (Ctrl-C stops it)")

    host, port = settings.server.host, settings.server.port
    serving = serve_http(settings, host=host, port=port, read_pins=read_pins, on_ready=on_ready, reloader=reloader)
    with exported_traces():
        run_to_end(serving)


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
        typer.Option(help="Call a running server, e.g. http://127.0.0.1:8000/mcp.", show_default=False),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="With --url: a file that contains the token or key for it.", show_default=False),
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the run.", min=0.1)] = 3600.0,
) -> None:
    """Call a tool the way an agent does, and print its answer as JSON."""
    target = url or settings_at(config)
    credential = None if token_file is None else read_secret(token_file, "--token-file")
    read_pins = None if isinstance(target, str) else configured_pins(target)
    arguments_for = partial(arguments_of, words=words or [], text=arguments)
    result = run_to_end(call_tool(target, tool, arguments_for, wait, credential=credential, read_pins=read_pins))
    text = "\n".join(getattr(block, "text", "") for block in result.content)
    if result.is_error:
        complain(text)
        raise typer.Exit(1)
    show_answer(text)


@app.command()
def pin(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="TOOL...", help="The tools to pin. Default: all.", show_default=False)
    ] = None,
    *,
    config: ConfigOption = None,
    folder: FolderOption = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove the pins of tools that are not published.")] = False,
    dags: DagsOption = None,
    airflow_python: AirflowPythonOption = "python",
) -> None:
    """Write what agents see of each tool into a file, for review.

    With --dags, the tools are those of dag files that are not deployed yet. If Airflow cannot import some of them, the
    exit code is 1, the other tools are pinned, and no pin is removed.
    """
    settings = settings_at(config)
    target = pin_folder_of(settings, folder)
    files = dag_files_in(dags, airflow_python)
    published = published_by(require_answer(run_to_end(read_snapshot(settings, files=files))))
    is_any_broken = complain_about_files(files)
    if unknown := sorted(set(names or ()) - published.keys()):
        raise ConfigError(f"tool {unknown[0]!r} is not published, so it cannot be pinned; `dagcall tools` says why")
    pin_folder = PinFolder(target)
    pins = pin_folder.read() if target.exists() else Pins()
    for name in names or published:
        is_changed = pins.objection(published[name]) is not None
        file = pin_folder.write(name, pin_text(published[name]))
        print(f"{'pinned' if is_changed else 'unchanged'}: {file}")
    for name in sorted((pins.tools.keys() | pins.broken.keys()) - published.keys()):
        is_removed = prune and not is_any_broken
        what = "no longer published (--prune removes it)"
        if prune:
            what = "removed" if is_removed else "kept, because Airflow cannot import every file"
        file = pin_folder.remove(name) if is_removed else target / f"{name}.json"
        print(visible(f"{what}: {file}"))
    for alike in names_alike(published):
        complain(
            f"{' and '.join(alike)} differ only in case: on a case-insensitive file system, their pins are one file, "
            "and all but one of them are withheld; rename them"
        )
    if is_any_broken:
        raise typer.Exit(1)


@app.command()
def check(
    *,
    config: ConfigOption = None,
    folder: FolderOption = None,
    dags: DagsOption = None,
    airflow_python: AirflowPythonOption = "python",
) -> None:
    """Compare what is published with the pins and print the differences.

    With --dags, the tools are those of dag files that are not deployed yet.

    Exit code: 0 if nothing differs, 1 if something differs or a dag file is broken, 2 if it could not compare.
    """
    settings = settings_at(config)
    target = pin_folder_of(settings, folder)
    pins = PinFolder(target).read()
    files = dag_files_in(dags, airflow_python)
    snapshot = require_answer(run_to_end(read_snapshot(settings, files=files)))
    is_any_broken = complain_about_files(files)
    found = differences(pins, published_by(snapshot), withheld={item.what: item.reason for item in snapshot.withheld})
    for name, text in found.items():
        is_one_line = "\n" not in text and not text.endswith(":")
        print(visible(f"{name}: {text}" if is_one_line else f"{name}:\n{indented(text)}"))
    if found:
        tools_differ = (
            "1 tool differs from its pin" if len(found) == 1 else f"{len(found)} tools differ from their pins"
        )
        complain(f"{tools_differ} in {target}; review the changes, then run: dagcall pin")
    if found or is_any_broken:
        raise typer.Exit(1)
    print(f"all tools equal their pins in {target}")


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="The caller's name, as shown in Airflow's notes and in the audit log.")],
    *,
    scopes: Annotated[
        list[str] | None, typer.Option("--scope", help="A scope of the key; may be repeated.", show_default=False)
    ] = None,
    groups: Annotated[
        list[str] | None, typer.Option("--group", help="A group of the caller; may be repeated.", show_default=False)
    ] = None,
) -> None:
    """Make a key for a caller, and its entry for the keys file.

    The key is printed once. The file contains only the key's hash, so a lost key cannot be recovered: make a new one.
    """
    new = new_key()
    say(f"The key, shown only once; the caller sends it as the header Authorization: Bearer {new}")
    say("\nTo accept it, add this entry to the file that auth.keys_file names:\n")
    print(entry_of(new, name, scopes=scopes or (), groups=groups or ()))


@app.command()
def schema() -> None:
    """Print the JSON Schema of dagcall.toml, for editors."""
    print(SCHEMA_FILE.read_text(encoding="utf-8"), end="")


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
    """Start a real Airflow with example dags, to try dagcall out.

    dagcall serves them at once. Ctrl-C stops both.
    """
    from dagcall.demo.command import run_demo  # noqa: PLC0415 - only the demo needs the demo

    raise typer.Exit(run_demo(directory=folder, host_port=port, airflow_port=airflow_port, console=Console()))
