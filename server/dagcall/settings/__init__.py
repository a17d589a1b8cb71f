"""The settings: `dagcall.toml` and `DAGCALL_*` variables, one model per table, read once and validated together.

The only package that reads the environment. Refuses to know what the settings are used for.
"""

from pathlib import Path

from dagcall.settings.airflow import AirflowSettings
from dagcall.settings.auth import AuthSettings, is_loopback
from dagcall.settings.changes import Changes, changes_between
from dagcall.settings.limits import STDERR, AccountSettings, LogFormat, LogLevel
from dagcall.settings.log_in import LogInSettings
from dagcall.settings.settings import (
    Settings,
    address_of,
    find_config,
    is_configured_by_environment,
    load_settings,
    read_secret,
)

SCHEMA_FILE = Path(__file__).with_name("dagcall.schema.json")
"""The JSON Schema of the settings file, for editors."""

__all__ = [
    "SCHEMA_FILE",
    "STDERR",
    "AccountSettings",
    "AirflowSettings",
    "AuthSettings",
    "Changes",
    "LogFormat",
    "LogInSettings",
    "LogLevel",
    "Settings",
    "address_of",
    "changes_between",
    "find_config",
    "is_configured_by_environment",
    "is_loopback",
    "load_settings",
    "read_secret",
]
