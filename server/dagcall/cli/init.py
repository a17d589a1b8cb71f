"""`dagcall init`: from an Airflow to a settings file, pins, and an entry in a desktop client's configuration.

Everything is tried before anything is written, and no file is overwritten.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from dagcall.cli.client_files import ClientName
from dagcall.cli.options import PIN_FOLDER
from dagcall.cli.set_up import DEFAULT_URL, LogIn, SetUp, one_line_about, option_of
from dagcall.cli.settings_file import settings_text
from dagcall.cli.terminal import complain
from dagcall.errors import ConfigError
from dagcall.settings import FILE_NAME, read_secret


def init(
    *,
    url: Annotated[
        str | None, typer.Option(help="Airflow's address, as in a browser.", show_default=f"asked; {DEFAULT_URL}")
    ] = None,
    username: Annotated[str | None, typer.Option(help="The account in Airflow.", show_default="asked")] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="A file that contains only its password.", show_default="the password is asked")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file that contains only a token for Airflow, instead.", show_default=False)
    ] = None,
    client_id: Annotated[str | None, typer.Option(help="A client of Keycloak, instead.", show_default=False)] = None,
    client_secret_file: Annotated[
        Path | None, typer.Option(help="A file that contains only its secret.", show_default="the secret is asked")
    ] = None,
    auth: Annotated[
        Literal["mwaa", "composer", "none"] | None,
        typer.Option(help="A managed Airflow, or one without log-in.", show_default=False),
    ] = None,
    mwaa_environment: Annotated[
        str | None, typer.Option(help="With --auth mwaa: the environment's name.", show_default=False)
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="CA certificates to trust.", show_default="those that the system trusts")
    ] = None,
    dags: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DAG",
            help="What to publish: a dag, a pattern (ml_*) or a tag (tag:mcp); may be repeated.",
            show_default="asked",
        ),
    ] = None,
    config: Annotated[Path, typer.Option("--config", "-c", help="The settings file to write.")] = Path(FILE_NAME),
    pin: Annotated[
        bool | None,
        typer.Option("--pin/--no-pin", help="Whether to pin what agents see of the tools.", show_default="asked"),
    ] = None,
    clients: Annotated[
        list[ClientName] | None,
        typer.Option(
            "--client",
            help="Enter dagcall into this client's configuration; may be repeated.",
            show_default="asked for each client that is found",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="The server's name in clients.")] = "airflow",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; show what would be written.")] = False,
) -> None:
    """Set dagcall up for an Airflow, and write the settings.

    It logs in, chooses dags, and connects a desktop client. In a terminal it asks for what no option says. It tries
    everything first, and overwrites no file.
    """
    config = config.expanduser().absolute()
    if config.exists():
        raise ConfigError(f"{config} exists; edit it, or name another file with --config")
    given = _given_log_in(
        {"username": username, "client_id": client_id, "auth": auth, "mwaa_environment": mwaa_environment},
        {"password_file": password_file, "token_file": token_file, "client_secret_file": client_secret_file},
    )
    network = {} if ca_file is None else {"ca_file": str(ca_file.expanduser().absolute())}
    setup = SetUp(Console(), is_asking=sys.stdin.isatty(), config=config)
    try:
        airflow = setup.reach(url, network)
        log_in, listed = setup.log_in(airflow, given)
        settings, policies = setup.choose(airflow | log_in.to_try(), listed, dags)
        snapshot = setup.preview(settings)
        is_pinned = setup.pinned(pin)
        changes = list(setup.client_changes(clients, name))
        text = settings_text(
            airflow | log_in.to_write(),
            policies,
            descriptions={dag.dag_id: one_line_about(dag) for dag in listed},
            pins=PIN_FOLDER if is_pinned else None,
        )
    except (KeyboardInterrupt, EOFError):
        complain("\nnothing was written")
        raise typer.Exit(130) from None
    if dry_run:
        setup.show_plan(text, log_in, changes)
        return
    setup.write(text, log_in, snapshot if is_pinned else None, changes)


def _given_log_in(texts: Mapping[str, str | None], files: Mapping[str, Path | None]) -> LogIn | None:
    """Return the log-in that the options give, as keys of `[airflow]`; None if they give none.

    Raises:
        ConfigError: a file of a secret cannot be used.
    """
    if texts["auth"] == "none":
        return LogIn()
    paths = {key: path.expanduser().absolute() for key, path in files.items() if path is not None}
    for key, path in paths.items():
        read_secret(path, option_of(key))
    keys = {key: text for key, text in texts.items() if text is not None}
    keys |= {key: str(path) for key, path in paths.items()}
    return LogIn(keys) if keys else None
