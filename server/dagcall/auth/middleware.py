"""Authentication of HTTP requests.

An ASGI layer around everything, so that every path that is not listed as open requires a key or a token. Sends the
challenges of RFC 6750 and RFC 9728: 401 says where to get tokens, 403 which scopes are missing.
"""

import logging
from collections import Counter
from collections.abc import Collection, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Send

from dagcall.auth.callers import SCOPE_KEY, Caller
from dagcall.auth.keys import PREFIX, Keys
from dagcall.auth.tokens import InvalidToken, Tokens
from dagcall.errors import IssuerAway
from dagcall.text import shortened

logger = logging.getLogger(__name__)

Refusal = Literal["missing", "invalid_token", "insufficient_scope", "issuer_away"]
Refusals = Counter[Refusal]
"""How many requests were refused, and why."""
RETRY_SECONDS = 10
MAX_REASON = 200
"""Maximum characters of a logged reason, which may repeat content of the token, chosen by its sender."""


@dataclass(frozen=True, slots=True)
class AuthMiddleware:
    """Authenticates callers."""

    keys: Keys | None
    tokens: Tokens | None
    required_scopes: tuple[str, ...] = ()
    """The scopes that every key or token must have."""
    metadata_url: str | None = None
    """Where clients find the issuer; None without an issuer."""
    open_paths: Collection[str] = ()
    """Paths without authentication."""
    refusals: Refusals = field(default_factory=Refusals)

    async def caller(self, credential: str) -> Caller:
        """Return the caller with this key or token.

        Raises:
            InvalidToken: it is invalid.
            IssuerAway: it cannot be verified now.
        """
        if self.keys is not None and (self.tokens is None or credential.startswith(PREFIX)):
            caller = self.keys.caller(credential)
            if caller is None:
                raise InvalidToken("unknown key")
            return caller
        if self.tokens is None:
            raise InvalidToken("this server accepts no tokens")
        return await self.tokens.caller(credential)

    def guard(self, app: ASGIApp) -> ASGIApp:
        """Return the app for authenticated callers, with the `Caller` in the request's scope."""

        async def guarded(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
            if scope["type"] != "lifespan" and scope["path"] not in self.open_paths:  # includes web sockets
                found = await self._found(Headers(scope=scope).getlist("authorization"))
                if not isinstance(found, Caller):
                    await found(scope, receive, send)
                    return
                scope[SCOPE_KEY] = found
            await app(scope, receive, send)

        return guarded

    async def _found(self, headers: list[str]) -> Caller | JSONResponse:
        """Return the caller, or the response that refuses the request."""
        scheme, _, credential = (headers[0] if len(headers) == 1 else "").partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            self.refusals["missing"] += 1
            return self._challenge(401, None, "send a bearer token or a key in the header Authorization")
        try:
            caller = await self.caller(credential)
        except InvalidToken as error:
            logger.info("a token was refused: %s", shortened(str(error), MAX_REASON))
            self.refusals["invalid_token"] += 1
            return self._challenge(401, "invalid_token", "this token or key is invalid")
        except IssuerAway as error:
            logger.warning("a token could not be verified: %s", error)
            self.refusals["issuer_away"] += 1
            content = {"error": "temporarily_unavailable", "error_description": "tokens cannot be verified now"}
            return JSONResponse(content, status_code=503, headers={"Retry-After": str(RETRY_SECONDS)})
        if missing := [scope for scope in self.required_scopes if scope not in caller.scopes]:
            self.refusals["insufficient_scope"] += 1
            return self._challenge(403, "insufficient_scope", f"scope {' '.join(missing)} is missing")
        return caller

    def _challenge(self, status: int, error: str | None, description: str) -> JSONResponse:
        parts = {} if error is None else {"error": error, "error_description": description}
        if self.required_scopes:
            parts["scope"] = " ".join(self.required_scopes)
        if self.metadata_url is not None:
            parts["resource_metadata"] = self.metadata_url
        challenge = ", ".join(f'{name}="{value}"' for name, value in parts.items())
        return JSONResponse(
            {"error": error or "unauthorized", "error_description": description},
            status_code=status,
            headers={"WWW-Authenticate": f"Bearer {challenge}".strip()},
        )
