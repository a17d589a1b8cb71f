"""The token for Airflow: fetched when first needed, renewed before it runs out and once when Airflow refuses it.

Knows where a token comes from, not how it is sent. Tokens stay in memory and in no repr.
"""

import asyncio
import base64
import binascii
import json
import shlex
from collections.abc import Awaitable, Callable
from typing import Any

from dagcall.errors import AirflowLogInRefused

RENEW_AT = 0.8
"""The share of a token's life after which it is renewed."""
COMMAND_SECONDS = 30.0

FetchToken = Callable[[], Awaitable[str]]


class Credentials:
    """What to send as a bearer token.

    Args:
        fetch: gets a new token; None for an Airflow that lets everybody in.
        now: seconds since the epoch, as `time.time`.
    """

    def __init__(self, fetch: FetchToken | None, *, now: Callable[[], float]) -> None:
        self._fetch = fetch
        self._now = now
        self._token: str | None = None
        self._renew_at = float("inf")
        self._lock = asyncio.Lock()

    async def token(self) -> str | None:
        """Return a token that is good for now, or None if none is needed."""
        if self._fetch is None:
            return None
        if not self._is_good():
            async with self._lock:
                if not self._is_good():
                    await self._renew(self._fetch)
        return self._token

    def _is_good(self) -> bool:
        return self._token is not None and self._now() < self._renew_at

    async def _renew(self, fetch: FetchToken) -> None:
        fetched_at = self._now()
        self._token = (await fetch()).strip()
        expires_at = expiry_of(self._token)
        self._renew_at = float("inf") if expires_at is None else fetched_at + RENEW_AT * (expires_at - fetched_at)

    async def user_id(self) -> str | None:
        """Return the id of the account in Airflow, as its token says it; None where that is not known."""
        subject = _claims(await self.token() or "").get("sub")
        return subject if isinstance(subject, str) else None

    def can_renew_after(self, refused: str | None) -> bool:
        """Forget a token that Airflow refused; say whether trying again with another one makes sense."""
        if self._fetch is None or refused is None:
            return False
        if self._token == refused:
            self._token = None
        return True


def expiry_of(token: str) -> float | None:
    """Return when a JWT expires, in seconds since the epoch; None for a token that does not say.

    The token is ours to send, not to trust: nothing is verified here.
    """
    try:
        return float(_claims(token)["exp"])
    except (KeyError, TypeError, ValueError):
        return None


def _claims(token: str) -> dict[str, Any]:
    """Return what a JWT says; nothing for a token of another kind."""
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
    """Run a command that prints a token, e.g. `gcloud auth print-access-token`. No shell is involved."""

    async def fetch() -> str:
        words = shlex.split(command)
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise AirflowLogInRefused(
                f"the token command {words[0]!r} could not be started: {error.strerror}"
            ) from error
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                printed, complaint = await process.communicate()
        except TimeoutError as error:
            raise AirflowLogInRefused(
                f"the token command {words[0]!r} did not finish within {COMMAND_SECONDS:.0f} s"
            ) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        token = printed.decode(errors="replace").strip()
        if process.returncode or not token:
            said = complaint.decode(errors="replace").strip().splitlines()
            raise AirflowLogInRefused(
                f"the token command {words[0]!r} printed no token (exit code {process.returncode})"
                + (f": {said[-1][:200]}" if said else "")
            )
        return token

    return fetch
