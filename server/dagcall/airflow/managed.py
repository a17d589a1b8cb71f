"""The log-ins of managed Airflows: Amazon MWAA and Google Cloud Composer.

Their clouds' own libraries find and renew the cloud's credentials: environment variables, files, the role of the
machine. They block, so they run in threads.
"""

import asyncio
from importlib import import_module
from typing import Any

from dagcall.airflow.answers import pointing_to, says_later
from dagcall.airflow.auth_token import later_error, post_outside
from dagcall.airflow.credentials import FetchToken, no_token
from dagcall.airflow.gate import Gate
from dagcall.errors import AirflowAnswerUnusable, AirflowError, AirflowLogInRefused, ConfigError

MWAA_LOG_IN = "/pluginsv2/aws_mwaa/login"
"""Takes a token of the AWS API, which lives a minute; its answer sets the cookie with Airflow's token."""
MWAA_COOKIE = "_token"
GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LATER = ("Throttling", "TooManyRequests", "ServiceUnavailable", "InternalServer", "RequestLimitExceeded")


def mwaa_token(url: str, environment: str, region: str | None, *, gate: Gate, **network: Any) -> FetchToken:
    """Return a function that gets a token for an environment of Amazon MWAA with Airflow 3.

    Args:
        url: the address of the environment's UI.
        environment: the environment's name.
        region: the AWS region; None for the one that AWS's own settings name.
        gate: the gate that the log-in passes.
        network: `transport`, `verify` and `requests` for `Transport`.

    Raises:
        ConfigError: boto3 is not installed.
    """
    boto3 = _library("boto3", "mwaa", "aws")
    client_errors = import_module("botocore.exceptions")

    def web_token() -> str:
        try:
            client = boto3.session.Session().client("mwaa", region_name=region)  # a session keeps what it found
            return str(client.create_web_login_token(Name=environment)["WebToken"])
        except client_errors.ClientError as error:
            raise _aws_error(environment, error.response.get("Error", {})) from error
        except client_errors.BotoCoreError as error:
            raise no_token(f"AWS gave no log-in for MWAA environment {environment!r}: {error}") from error

    async def fetch() -> str:
        form = {"token": await asyncio.to_thread(web_token)}
        answer = await post_outside(url, MWAA_LOG_IN, form=form, gate=gate, **network)
        if says_later(answer):
            raise later_error(answer, url)
        token = answer.cookie(MWAA_COOKIE)
        if token is None:
            raise AirflowAnswerUnusable(
                f"{url} answered the log-in of MWAA environment {environment!r} with status {answer.status} and no "
                f"token{pointing_to(answer)}: check that airflow.url is the address of that environment's UI, and that "
                "it runs Airflow 3"
            )
        return token

    return fetch


def _aws_error(environment: str, said: dict[str, str]) -> AirflowError:
    code, message = said.get("Code", ""), said.get("Message", "")
    told = f"MWAA environment {environment!r}: {code}: {message}"
    if code.startswith(_LATER):
        return no_token(f"AWS cannot log in to {told}")
    return AirflowLogInRefused(
        f"AWS did not log in to {told}. The role needs airflow:CreateWebLoginToken on the environment's role"
    )


def google_token() -> FetchToken:
    """Return a function that gets an access token of the account that Google's libraries find, for Cloud Composer.

    Raises:
        ConfigError: google-auth is not installed.
    """
    auth = _library("google.auth", "composer", "google")
    requests = _library("google.auth.transport.requests", "composer", "google")
    errors = import_module("google.auth.exceptions")

    def access_token() -> str:
        try:
            credentials, _ = auth.default(scopes=[GOOGLE_SCOPE])
            credentials.refresh(requests.Request())
            return str(credentials.token)
        except errors.RefreshError as error:
            if error.retryable:
                raise no_token(f"Google gave no access token: {error}") from error
            raise AirflowLogInRefused(f"Google gave no access token: {error.args[0]}") from error
        except errors.GoogleAuthError as error:
            raise no_token(f"Google gave no access token: {error}") from error

    async def fetch() -> str:
        return await asyncio.to_thread(access_token)

    return fetch


def _library(name: str, auth: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"airflow.auth: {auth!r} needs {name}, which is not installed: pip install 'dagcall[{extra}]'"
        ) from error
