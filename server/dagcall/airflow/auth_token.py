"""Airflow's log-in for programs, `POST /auth/token`, as the auth managers offer it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from dagcall.airflow.answers import PARSE_ERRORS, pointing_to, reason_in, retry_after_seconds, says_later
from dagcall.airflow.gate import MAX_ANSWER_BYTES, Gate, Purpose
from dagcall.airflow.http import HttpAnswer, Transport
from dagcall.airflow.outcomes import Reported, report
from dagcall.errors import AirflowAnswerUnusable, AirflowError, AirflowLogInRefused, AirflowUnreachable

LOG_IN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class LogIn:
    """Who logs in, and with what."""

    who: str
    """In messages: `user 'ann'`."""
    wrong: str
    """What is wrong if Airflow refuses it: `wrong user name or password`."""
    form: Mapping[str, str] = field(repr=False)
    """The body of the request."""


def as_user(username: str, password: str) -> LogIn:
    """Return the log-in of a user: the simple auth manager, FAB, Keycloak."""
    form = {"username": username, "password": password}
    return LogIn(f"user {username!r}", "wrong user name or password", form)


def as_client(client_id: str, client_secret: str) -> LogIn:
    """Return the log-in of an OAuth client: Keycloak, which accepts only the client that Airflow itself uses."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
    return LogIn(f"client {client_id!r}", "wrong secret, or not the client that Airflow itself uses", form)


async def log_in(url: str, who: LogIn, *, gate: Gate, **network: Any) -> str:
    """Get a token from `POST /auth/token`, through the gate.

    Args:
        url: the address of Airflow's UI.
        who: who logs in.
        gate: the gate that the request passes.
        network: `transport`, `verify` and `requests` for `Transport`.

    Raises:
        AirflowLogInRefused: Airflow refuses this account.
        AirflowUnreachable: no answer, or one that says "later".
        AirflowAnswerUnusable: this Airflow has no such log-in, or the address is wrong.
    """
    answer = await post_outside(url, "/auth/token", body=who.form, gate=gate, **network)
    if answer.is_success:
        try:
            return str(json.loads(answer.content)["access_token"])
        except PARSE_ERRORS as error:
            raise AirflowAnswerUnusable(
                f"{url} answered POST /auth/token with no token: something in front of Airflow answered (a log-in "
                "page?), or another server; check airflow.url"
            ) from error
    raise _log_in_error(answer, url, who)


async def post_outside(
    url: str, path: str, *, gate: Gate, body: Any = None, form: Mapping[str, str] | None = None, **network: Any
) -> HttpAnswer:
    """Send a POST outside Airflow's API and without a token, through the gate, on a connection of its own."""
    http = Transport(url, read_seconds=LOG_IN_SECONDS, max_answer_bytes=MAX_ANSWER_BYTES, **network)
    try:
        async with gate.place(Purpose.RESULT):
            with Reported(gate):
                answer = await http.send("POST", path, headers={}, body=body, form=form, is_effect_possible=False)
            report(gate, answer)
    finally:
        await http.aclose()
    return answer


def later_error(answer: HttpAnswer, url: str) -> AirflowUnreachable:
    """Return the error for a log-in that was asked to try again later."""
    return AirflowUnreachable(
        f"Airflow at {url} cannot log in users now ({answer.status})",
        is_effect_possible=False,
        retry_after_seconds=retry_after_seconds(answer),
    )


def _log_in_error(answer: HttpAnswer, url: str, who: LogIn) -> AirflowError:
    """Turn a failed log-in into an exception. Keycloak's auth manager returns 403 for a wrong password."""
    status, reason = answer.status, reason_in(answer)
    if says_later(answer):
        return later_error(answer, url)
    refused = f"Airflow at {url} did not log in {who.who}"
    if reason is not None and status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return AirflowLogInRefused(f"{refused}: {who.wrong} ({status}: {reason})")
    if reason is not None and status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}:
        fields = " and ".join(name.replace("username", "user name") for name in who.form if name != "grant_type")
        return AirflowLogInRefused(f"{refused}: its log-in takes no {fields} ({status}: {reason})")
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
        what = "it" if b'"detail"' in answer.content else "something in front of it, or another server,"
        return AirflowAnswerUnusable(
            f"{refused}: {what} has no POST /auth/token there ({status}). Where Airflow has a path of its own "
            "(https://host/airflow), airflow.url holds it, and a proxy in front passes it on; where Airflow has no "
            "log-in with a password, give dagcall a token (airflow.token_file or airflow.token_command)"
        )
    return AirflowAnswerUnusable(
        f"{refused}: something in front of it answered with status {status}{pointing_to(answer)}; check airflow.url, "
        "and how programs log in there"
    )
