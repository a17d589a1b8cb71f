"""The settings: `dagcall.toml` and `DAGCALL_*` variables, one model per table, read once and validated together.

The only package that reads the environment. Refuses to know what the settings are used for.
"""

from pathlib import Path

from dagcall.settings.airflow import AirflowSettings
from dagcall.settings.auth import AuthSettings, is_loopback
from dagcall.settings.changes import Changes, changes_between
from dagcall.settings.limits import STDERR, AccountSettings, LogFormat, LogLevel
from dagcall.settings.log_in import LogInSettings
from dagcall.settings.origins import Origin, Setting, settings_with_origins
from dagcall.settings.server import address_of
from dagcall.settings.settings import (
    FILE_NAME,
    Settings,
    find_config,
    is_configured_by_environment,
    load_settings,
    read_secret,
    settings_from,
)
from dagcall.settings.tls import trusting

SCHEMA_FILE = Path(__file__).with_name("dagcall.schema.json")
"""The JSON Schema of the settings file, for editors."""

__all__ = [
    "FILE_NAME",
    "SCHEMA_FILE",
    "STDERR",
    "AccountSettings",
    "AirflowSettings",
    "AuthSettings",
    "Changes",
    "LogFormat",
    "LogInSettings",
    "LogLevel",
    "Origin",
    "Setting",
    "Settings",
    "address_of",
    "changes_between",
    "find_config",
    "is_configured_by_environment",
    "is_loopback",
    "load_settings",
    "read_secret",
    "settings_from",
    "settings_with_origins",
    "trusting",
]
