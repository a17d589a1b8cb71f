"""The token for Airflow: fetched when first needed, renewed before it runs out and once when Airflow refuses it.

Knows where a token comes from, not how it is sent. Tokens stay in memory and in no repr.

A log-in that fails is not repeated for every request: accounts get locked after a few wrong passwords, and a command
may take its time to fail. Requests that need a token at the same time share one log-in, and its error; the error then
stands for a while, and for as long as nothing has changed that the log-in depends on.
"""

import asyncio
import base64
import binascii
import json
import re
import shlex
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from dagcall.errors import AirflowAnswerUnusable, AirflowError, AirflowLogInRefused, AirflowUnreachable, CircuitOpen
from dagcall.singleflight import SingleFlight

RENEW_AT = 0.8
"""The share of a token's life after which it is renewed."""
COMMAND_SECONDS = 30.0
FIRST_REFUSAL_SECONDS = 30.0
"""How long after a refused log-in the next one comes, each time twice as long …"""
LONGEST_REFUSAL_SECONDS = 600.0
"""… up to this. Eight wrong passwords in the first hour: a usual lock counts five within some minutes."""
FAILURE_SECONDS = 1.0
"""How long after a log-in that failed for another reason the next one comes."""
REPLACEMENTS, REPLACEMENT_SECONDS = 3, 30.0
"""No more than so many refused tokens are replaced within so long: Airflow then takes none of this account."""
_TOKEN = re.compile(r"[\x21-\x7e]+")

FetchToken = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class _Failure:
    """A log-in that failed."""

    error: AirflowError
    secret: object
    """What it depended on."""
    until: float
    """When the next one may come, by the loop's clock."""


class Credentials:
    """What to send as a bearer token.

    Args:
        fetch: gets a new token; None for an Airflow that lets everybody in.
        now: seconds since the epoch, by Airflow's clock as far as it is known.
        secret: what the log-in depends on, such as the password: once it has changed, a log-in is tried at once.
    """

    def __init__(
        self, fetch: FetchToken | None, *, now: Callable[[], float], secret: Callable[[], object] = lambda: None
    ) -> None:
        self._fetch = fetch
        self._now = now
        self._secret = secret
        self._token: str | None = None
        self._renew_at = float("inf")
        self._renewed = SingleFlight(self._renew)
        self._source: object = None
        """What the token was made from."""
        self._replaced_at: deque[float] = deque(maxlen=REPLACEMENTS)
        """When the last refused tokens were replaced, by the loop's clock."""
        self._failure: _Failure | None = None
        self._refusals = 0
        """How many log-ins in a row Airflow refused."""

    async def token(self) -> str | None:
        """Return a token that is good for now, or None if none is needed.

        Raises:
            AirflowLogInRefused: Airflow does not let this account in.
            AirflowUnreachable, AirflowAnswerUnusable: there is no token now; asking again may help.
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
        except CircuitOpen:  # the breaker knows when to ask again
            raise
        except AirflowLogInRefused as error:
            self._refusals += 1
            seconds = min(FIRST_REFUSAL_SECONDS * 2 ** (self._refusals - 1), LONGEST_REFUSAL_SECONDS)
            self._failure = _Failure(error, secret, _loop_time() + seconds)
            raise
        except (AirflowUnreachable, AirflowAnswerUnusable) as error:
            seconds = max(_retry_after(error), FAILURE_SECONDS)
            self._failure = _Failure(error, secret, _loop_time() + seconds)
            raise
        self._failure, self._refusals = None, 0
        self._token, self._source = token, secret
        self._renew_at = _renew_at(self._now(), expiry_of(token))

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
        """Return the id of the account in Airflow, as its token says it; None where that is not known."""
        subject = _claims(await self.token() or "").get("sub")
        return subject if isinstance(subject, str) else None

    def can_renew_after(self, refused: str | None) -> bool:
        """Forget a token that Airflow refused; say whether trying again with another one makes sense."""
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
    """Say whether a text can be sent as a bearer token."""
    return _TOKEN.fullmatch(text) is not None


def _usable(token: str) -> str:
    """Return what can be sent as a token.

    Raises:
        AirflowUnreachable: it cannot.
    """
    if not is_token(token):
        raise no_token("what was to be one holds blanks or characters that no token has")
    return token


def _renew_at(now: float, expires_at: float | None) -> float:
    """Return when to renew a token. One that seems to have expired already is used until Airflow refuses it."""
    if expires_at is None or expires_at <= now:
        return float("inf")
    return now + RENEW_AT * (expires_at - now)


def no_token(reason: str) -> AirflowUnreachable:
    """Return the error for a token that is not there now, for a reason that is not Airflow's."""
    return AirflowUnreachable(f"there is no token for Airflow: {reason}", is_effect_possible=False)


def expiry_of(token: str) -> float | None:
    """Return when a JWT expires, in seconds since the epoch; None for a token that does not say."""
    try:
        return float(_claims(token)["exp"])
    except (KeyError, TypeError, ValueError):
        return None


def subject_of(token: str) -> str | None:
    """Return whose a JWT is, as text; None for a token that does not say."""
    claims = _claims(token)
    return json.dumps([claims.get("iss"), claims["sub"]]) if "sub" in claims else None


def _claims(token: str) -> dict[str, Any]:
    """Return what a JWT says; nothing for any other token. It is ours to send, not to trust: nothing is verified."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, binascii.Error):
        return {}
    return claims if isinstance(claims, dict) else {}


def static_token(token: str) -> FetchToken:
    """Return the same token each time."""

    async def fetch() -> str:
        return token

    return fetch


def token_command(command: str) -> FetchToken:
    """Run a command that prints a token, e.g. `gcloud auth print-access-token`. No shell is involved.

    A command that fails is no refusal of Airflow's: it may print a token when it is run again.
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
