"""Options that several commands share, and the settings and pins that they select."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from dagcall.cli.terminal import say
from dagcall.errors import ConfigError
from dagcall.settings import Settings, find_config, is_configured_by_environment, load_settings
from dagcall.tools import PinFolder, Pins

PIN_FOLDER = "tool_schemas"

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="The settings file. Default: $DAGCALL_CONFIG, then ./dagcall.toml, then the demo's.",
        show_default=False,
    ),
]
FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        help=f"The folder of pins. Default: `pins` in the settings, then ./{PIN_FOLDER}.",
        show_default=False,
    ),
]

DagsOption = Annotated[
    Path | None,
    typer.Option(
        "--dags",
        metavar="FOLDER",
        help="Read the tools from this folder of dag files, without an Airflow server.",
        show_default=False,
    ),
]
AirflowPythonOption = Annotated[
    str,
    typer.Option(
        "--airflow-python",
        metavar="PATH",
        help="With --dags: the Python of an environment with Airflow, which runs the dag files.",
    ),
]


def settings_file(config: Path | None) -> Path | None:
    """Return the settings file: the given one, that of the usual places, or the demo's; None to use only variables.

    Raises:
        ConfigError: there is none, and no variable names an Airflow.
    """
    path = find_config(config)
    if path is None and not is_configured_by_environment():
        from dagcall.demo.command import default_folder  # noqa: PLC0415 - only where nothing else is configured

        path = default_folder(os.environ) / "dagcall.toml"  # noqa: TID251 - the demo decides where its files are
        if not path.is_file():
            load_settings(None)  # reports a misspelt variable, which is then the real mistake
            raise ConfigError(
                "dagcall does not know which Airflow to use: `dagcall init` writes a dagcall.toml here, --config names "
                "another, or set DAGCALL_AIRFLOW_URL and DAGCALL_DAGS. To try dagcall without an Airflow, run: "
                "dagcall demo"
            )
        say(f"using the demo's settings, {path}")
    return path


def settings_at(config: Path | None) -> Settings:
    """Read the settings: from the given file, the usual places, or those of the demo.

    Args:
        config: the file of `--config`.

    Raises:
        ConfigError: there are none, or they are invalid.
    """
    return load_settings(settings_file(config))


def pin_folder_of(settings: Settings, given: Path | None) -> Path:
    """Return the folder of pins: the given one, that of the settings, or the usual one."""
    return given or settings.pins or Path(PIN_FOLDER)


def configured_pins(settings: Settings) -> Callable[[], Pins] | None:
    """Return what reads the pins that the settings name; None if they name none."""
    return None if settings.pins is None else reader_of_pins(settings.pins)


def reader_of_pins(path: Path) -> Callable[[], Pins]:
    """Return what reads the pins of a folder.

    Raises:
        ConfigError: the folder is missing.
    """
    folder = PinFolder(path)
    folder.read()  # a missing folder is an error before anything is served
    return folder.read
