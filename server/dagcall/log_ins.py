"""From the settings of a log-in to credentials for Airflow.

Files of secrets are reread at each log-in, so that new secrets work immediately.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from dagcall.airflow import (
    AirflowClock,
    Credentials,
    FetchToken,
    Gate,
    LogIn,
    as_client,
    as_user,
    google_token,
    is_token,
    log_in,
    mwaa_token,
    no_token,
    static_token,
    token_command,
)
from dagcall.errors import ConfigError
from dagcall.settings import LogInSettings, read_secret

logger = logging.getLogger(__name__)


def credentials_for(way: LogInSettings, url: str, gate: Gate, clock: AirflowClock, **network: Any) -> Credentials:
    """Return credentials for Airflow. Files are reread at each log-in, so that new secrets work immediately.

    Args:
        way: how to log in.
        url: the address of Airflow's UI.
        gate: the gate that log-ins pass.
        clock: Airflow's clock.
        network: `transport`, `verify` and `requests` for `Transport`.

    Raises:
        ConfigError: a file of a secret, or a library, is unusable.
    """
    fetch: FetchToken | None = None
    get_token = partial(log_in, url, gate=gate, **network)
    if way.username is not None:
        return _secret_credentials(way, partial(as_user, way.username), clock, get_token)
    if way.client_id is not None:
        return _secret_credentials(way, partial(as_client, way.client_id), clock, get_token)
    if way.token_file is not None:
        return _file_credentials(way.token_file, f"{way.table}.token_file", clock)
    if way.token is not None:
        token = way.token.get_secret_value()
        _require_token(token, f"{way.table}.token")
        fetch = static_token(token)
    elif way.token_command is not None:
        fetch = token_command(way.token_command)
    elif way.auth == "mwaa":
        assert way.mwaa_environment is not None  # noqa: S101 - the settings require it
        fetch = mwaa_token(url, way.mwaa_environment, way.aws_region, gate=gate, **network)
    elif way.auth == "composer":
        fetch = google_token()
    return Credentials(fetch, now=clock.timestamp)


def _file_credentials(path: Path, setting: str, clock: AirflowClock) -> Credentials:
    _require_token(read_secret(path, setting), f"{setting}: {path}")

    async def read() -> str:
        return _read_again(path, setting, "token")

    return Credentials(read, now=clock.timestamp, secret=lambda: _content(path))


def _require_token(text: str, setting: str) -> None:
    if not is_token(text.strip()):
        raise ConfigError(f"{setting} contains no valid token: it has spaces or characters that are invalid in a token")


def _secret_credentials(
    way: LogInSettings,
    log_in_with: Callable[[str], LogIn],
    clock: AirflowClock,
    get_token: Callable[[LogIn], Awaitable[str]],
) -> Credentials:
    """Return the credentials of a user or client with a password or secret, in the settings or in a file."""
    path, secret = way.password_file or way.client_secret_file, lasting_secret(way) or ""
    what = "password" if way.username is not None else "client secret"
    setting = f"{way.table}.{what.replace(' ', '_')}_file"

    async def fetch() -> str:
        current = secret if path is None else _read_again(path, setting, what)
        return await get_token(log_in_with(current))

    return Credentials(fetch, now=clock.timestamp, secret=lambda: None if path is None else _content(path))


def _read_again(path: Path, setting: str, what: str) -> str:
    """Reread a secret while dagcall serves. Only the operator's log names a missing file."""
    try:
        return read_secret(path, setting)
    except ConfigError as error:
        logger.warning("there is no %s for Airflow: %s", what, error)
        raise no_token(f"the file that holds the {what} cannot be read now") from error


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def lasting_secret(log_in: LogInSettings) -> str | None:
    """Return the password, client secret or fixed token; None if the log-in uses none of them."""
    if log_in.password_file is not None:
        return read_secret(log_in.password_file, f"{log_in.table}.password_file")
    if log_in.client_secret_file is not None:
        return read_secret(log_in.client_secret_file, f"{log_in.table}.client_secret_file")
    return next(log_in.secrets(), None)
