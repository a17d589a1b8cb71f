"""The token for Airflow: fetched when first needed, renewed before it expires, and once when Airflow refuses it.

Knows where a token comes from, not how it is sent. Tokens stay in memory and out of every repr.

A failed log-in is not repeated for every request: accounts get locked after a few wrong passwords, and a command may
fail slowly. Requests that need a token at the same time share one log-in and its error. The error is then reused for
some time, unless the password, token or command has changed.
"""

import asyncio
import base64
import binascii
import json
import re
import shlex
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from dagcall.errors import AirflowAnswerUnusable, AirflowError, AirflowLogInRefused, AirflowUnreachable, CircuitOpen
from dagcall.singleflight import SingleFlight

RENEW_AT = 0.8
"""The share of a token's lifetime after which it is renewed."""
COMMAND_SECONDS = 30.0
FIRST_REFUSAL_SECONDS = 30.0
"""The pause after a refused log-in, doubled each time …"""
LONGEST_REFUSAL_SECONDS = 600.0
"""… up to this: eight attempts in the first hour. A typical lock counts five within a few minutes."""
FAILURE_SECONDS = 1.0
"""The pause after a log-in that failed for another reason."""
REPLACEMENTS, REPLACEMENT_SECONDS = 3, 30.0
"""Maximum replacements of refused tokens within a time: beyond it, Airflow refuses every token of this account."""
_TOKEN = re.compile(r"[\x21-\x7e]+")

FetchToken = Callable[[], Awaitable[str]]
LogInOutcome = Literal["success", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class _Failure:
    """A log-in that failed."""

    error: AirflowError
    secret: object
    """The password or token that it used."""
    until: float
    """When the next attempt may be made, by the loop's clock."""


class Credentials:
    """The bearer token for requests.

    Args:
        fetch: gets a new token; None for an Airflow without authentication.
        now: seconds since the epoch, by Airflow's clock if it is known.
        secret: what the log-in depends on, such as the password: once it has changed, a log-in is tried immediately.
    """

    def __init__(
        self, fetch: FetchToken | None, *, now: Callable[[], float], secret: Callable[[], object] = lambda: None
    ) -> None:
        self._fetch = fetch
        self._now = now
        self._secret = secret
        self._token: str | None = None
        self._renew_at = float("inf")
        self.may_end_unnoticed = False
        """Whether Airflow may accept the token and yet see no rights in it.

        Keycloak's auth manager does: it takes the rights from Keycloak's token inside, and when that one has ended (its
        time is over, or its session was closed), requests get 403 "Forbidden", and lists are empty.
        """
        self._renewed = SingleFlight(self._renew)
        self._source: object = None
        """The secret that the token was obtained with."""
        self._replaced_at: deque[float] = deque(maxlen=REPLACEMENTS)
        """When the last refused tokens were replaced, by the loop's clock."""
        self._failure: _Failure | None = None
        self._refusals = 0
        """How many log-ins in a row Airflow has refused."""
        self.log_ins = Counter[LogInOutcome]()
        """How many attempts to get a token ended how."""

    async def token(self) -> str | None:
        """Return a valid token, or None if none is needed.

        Raises:
            AirflowLogInRefused: Airflow does not let this account in.
            AirflowUnreachable, AirflowAnswerUnusable: there is no token now; a retry may help.
        """
        if self._fetch is None:
            return None
        if not self._is_good():
            await self._renewed(self._fetch)
        return self._token

    def _is_good(self) -> bool:
        return self._token is not None and self._now() < self._renew_at

    async def _renew(self, fetch: FetchToken) -> None:
        self._require_no_fresh_failure()
        secret = self._secret()
        try:
            token = _usable((await fetch()).strip())
        except CircuitOpen:  # the breaker knows when to retry
            raise
        except AirflowLogInRefused as error:
            self._refusals += 1
            self.log_ins["refused"] += 1
            seconds = min(FIRST_REFUSAL_SECONDS * 2 ** (self._refusals - 1), LONGEST_REFUSAL_SECONDS)
            self._failure = _Failure(error, secret, _loop_time() + seconds)
            raise
        except (AirflowUnreachable, AirflowAnswerUnusable) as error:
            self.log_ins["failed"] += 1
            seconds = max(_retry_after(error), FAILURE_SECONDS)
            self._failure = _Failure(error, secret, _loop_time() + seconds)
            raise
        self.log_ins["success"] += 1
        self._failure, self._refusals = None, 0
        self._token, self._source = token, secret
        self._renew_at = _renew_at(self._now(), expiry_of(token))
        self.may_end_unnoticed = bool(_token_inside(token))

    def _require_no_fresh_failure(self) -> None:
        failure = self._failure
        if failure is None or failure.secret != self._secret():
            return
        seconds = failure.until - _loop_time()
        if seconds <= 0:
            return
        if isinstance(failure.error, AirflowLogInRefused):
            raise AirflowLogInRefused(str(failure.error)) from failure.error
        raise AirflowUnreachable(
            str(failure.error), is_effect_possible=False, retry_after_seconds=seconds
        ) from failure.error

    async def user_id(self) -> str | None:
        """Return the account's id in Airflow, from its token; None if it is unknown."""
        subject = _claims(await self.token() or "").get("sub")
        return subject if isinstance(subject, str) else None

    def can_renew_after(self, refused: str | None) -> bool:
        """Forget a token that Airflow refused; return whether to retry with another one."""
        if self._fetch is None or refused is None:
            return False
        if self._token == refused:
            if self._is_replaced_too_often() and self._secret() == self._source:
                return False
            self._replaced_at.append(_loop_time())
            self._token = None
        return True

    def _is_replaced_too_often(self) -> bool:
        since = _loop_time() - REPLACEMENT_SECONDS
        return len(self._replaced_at) == REPLACEMENTS and self._replaced_at[0] > since


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _retry_after(error: AirflowError) -> float:
    return (error.retry_after_seconds or 0.0) if isinstance(error, AirflowUnreachable) else 0.0


def is_token(text: str) -> bool:
    """Return whether a text can be sent as a bearer token."""
    return _TOKEN.fullmatch(text) is not None


def _usable(token: str) -> str:
    """Return the token if it can be sent.

    Raises:
        AirflowUnreachable: it cannot be sent.
    """
    if not is_token(token):
        raise no_token("the text contains spaces or characters that are invalid in a token")
    return token


def _renew_at(now: float, expires_at: float | None) -> float:
    """Return when to renew a token. A token that seems to have expired is used until Airflow refuses it."""
    if expires_at is None or expires_at <= now:
        return float("inf")
    return now + RENEW_AT * (expires_at - now)


def no_token(reason: str) -> AirflowUnreachable:
    """Return the error for a missing token, if the reason is not Airflow."""
    return AirflowUnreachable(f"there is no token for Airflow: {reason}", is_effect_possible=False)


def expiry_of(token: str) -> float | None:
    """Return when a JWT or the token inside it expires, in seconds since the epoch; None if neither says it."""
    return min((time for time in expiries_of(token) if time is not None), default=None)


def expiries_of(token: str) -> tuple[float | None, float | None]:
    """Return when a JWT expires, and when the token inside it does, in seconds since the epoch; None if unknown."""
    own, inside = (_claims(each).get("exp") for each in (token, _token_inside(token)))
    return _time(own), _time(inside)


def _time(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _token_inside(token: str) -> str:
    """Return the token that a JWT contains; empty if there is none.

    Keycloak's auth manager puts Keycloak's token into its own. Usually it lives minutes, and the outer one a day.
    """
    inside = _claims(token).get("access_token")
    return inside if isinstance(inside, str) else ""


def subject_of(token: str) -> str | None:
    """Return issuer and subject of a JWT as text; None if the token has no subject."""
    claims = _claims(token)
    return json.dumps([claims.get("iss"), claims["sub"]]) if "sub" in claims else None


def _claims(token: str) -> dict[str, Any]:
    """Return a JWT's claims; empty for any other token. Not verified: we send the token, we do not trust it."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, binascii.Error):
        return {}
    return claims if isinstance(claims, dict) else {}


def static_token(token: str) -> FetchToken:
    """Return a function that always returns this token."""

    async def fetch() -> str:
        return token

    return fetch


def token_command(command: str) -> FetchToken:
    """Return a function that runs a command that prints a token, e.g. `gcloud auth print-access-token`; no shell.

    A failed command is not a refusal by Airflow: it may print a token when run again.
    """
    words = shlex.split(command)

    async def fetch() -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise no_token(f"the token command {words[0]!r} could not be started: {error.strerror}") from error
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                printed, complaint = await process.communicate()
        except TimeoutError as error:
            raise no_token(f"the token command {words[0]!r} did not finish within {COMMAND_SECONDS:.0f} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        token = printed.decode(errors="replace").strip()
        if process.returncode or not token:
            said = complaint.decode(errors="replace").strip().splitlines()
            raise no_token(
                f"the token command {words[0]!r} printed no token (exit code {process.returncode})"
                + (f": {said[-1][:200]}" if said else "")
            )
        return token

    return fetch
