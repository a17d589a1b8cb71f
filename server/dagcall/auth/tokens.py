"""Tokens of an authorization server: the side of an OAuth 2.1 resource server.

A token is a JWT, verified with the issuer's public keys, or opaque and introspected by the issuer (RFC 7662). Either
way it must have our audience (`aud`) and our issuer, and be valid now.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol
from urllib.parse import urlsplit

import jwt

from dagcall.airflow import IssuerHttp
from dagcall.auth.callers import Caller, caller_of_claims
from dagcall.errors import IssuerAway
from dagcall.plain_json import Json

logger = logging.getLogger(__name__)

ALGORITHMS = (*("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), *("ES256", "ES384", "ES512", "EdDSA"))
"""Only signatures with a private key: with a shared secret, everyone who can verify a token can make one."""
TYPES = frozenset({None, "jwt", "at+jwt", "application/at+jwt"})
"""`typ` of an access token; logout tokens and proofs of possession have others."""
LEEWAY_SECONDS = 30.0
KEYS_SECONDS = 300.0
"""How long the issuer's keys are cached: a revoked key is accepted for up to this time."""
STALE_SECONDS = 3600.0
"""How long they are used while the issuer is unreachable."""
READ_BURST = 3
READ_INTERVAL_SECONDS = 10.0
"""Limits rereading of the keys because of tokens with unknown key ids: a burst, then one per interval."""
INTROSPECTION_SECONDS = 60.0
"""How long an answer is cached: a revoked token is accepted for up to this time."""
REFUSED_SECONDS = 10.0
"""How long a refusal is cached, so that a client that repeats an invalid token does not load the issuer."""
MAX_KEPT = 10_000
MAX_ASKED_AT_ONCE = 8
MAX_TOKEN = 16_384


class InvalidToken(Exception):
    """An invalid token; the message says why, for the operator."""


class Tokens(Protocol):
    """Verifies tokens."""

    async def caller(self, token: str) -> Caller:
        """Return the caller with this token.

        Raises:
            InvalidToken: it is invalid.
            IssuerAway: it cannot be verified now.
        """


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """What every token must contain."""

    issuer: str
    audience: str
    groups_claim: str

    @property
    def audiences(self) -> tuple[str, ...]:
        """The audience as clients may write it: with and without a trailing slash."""
        return (self.audience.rstrip("/"), self.audience.rstrip("/") + "/")

    def caller(self, claims: Mapping[str, Json]) -> Caller:
        """Return the caller in verified claims.

        Raises:
            InvalidToken: they name none.
        """
        caller = caller_of_claims(self.issuer, claims, groups_claim=self.groups_claim)
        if caller is None:
            raise InvalidToken("it has no subject: sub, client_id and azp are missing")
        return caller


class JwtTokens:
    """JWTs, signed with one of the issuer's keys.

    Args:
        rules: what every token must contain.
        keys: the issuer's keys.
    """

    def __init__(self, rules: TokenPolicy, keys: "IssuerKeys") -> None:
        self._rules = rules
        self._keys = keys

    async def caller(self, token: str) -> Caller:
        """As `Tokens` says."""
        if len(token) > MAX_TOKEN:
            raise InvalidToken("it is too long")
        try:
            header = jwt.get_unverified_header(token)
            algorithm, kind = header.get("alg"), header.get("typ")
            if algorithm not in ALGORITHMS:  # before looking for a key
                raise InvalidToken(f"it is signed with {algorithm!r}")
            if (kind.lower() if isinstance(kind, str) else kind) not in TYPES:
                raise InvalidToken(f"it is of type {kind!r}")
            key = await self._keys.key(header.get("kid"))
            if key is None:
                raise InvalidToken("it is signed with a key that the issuer does not have")
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._rules.audiences,
                issuer=self._rules.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise InvalidToken(str(error)) from error
        return self._rules.caller(claims)


class IssuerKeys:
    """The public keys of an issuer, reread when they are old, and when a token names an unknown one.

    Args:
        http: sends requests to the issuer.
        issuer: its identifier, below which its metadata is.
        url: the address of the keys; None to read it from the metadata.
        now: the time in seconds, for tests.
    """

    def __init__(
        self, http: IssuerHttp, *, issuer: str, url: str | None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._http = http
        self._issuer = issuer
        self._url = url
        self._now = now
        self._keys: list[jwt.PyJWK] = []
        self._read_at: float | None = None
        self._is_away = False
        """Whether the last attempt to read them failed."""
        self._reads_left = float(READ_BURST)
        self._counted_at = now()
        self._one_read = asyncio.Lock()

    async def key(self, key_id: Any) -> jwt.PyJWK | None:
        """Return a key by its id, or the only key if a token names none.

        Raises:
            IssuerAway: the keys are too old, or lack this one, and cannot be read now.
        """
        is_needed = self._find(key_id) is None or self._age() > STALE_SECONDS
        if is_needed or (self._age() > KEYS_SECONDS and not self._one_read.locked()):  # others need not wait
            seen = self._read_at
            async with self._one_read:
                if self._read_at == seen and self._may_read():  # not reread meanwhile
                    await self._read()
        found = self._find(key_id)
        if self._age() > STALE_SECONDS or (found is None and self._is_away):
            raise IssuerAway(f"the keys of {self._issuer} cannot be read")
        return found

    def _find(self, key_id: Any) -> jwt.PyJWK | None:
        if key_id is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.key_id == key_id), None)

    def _age(self) -> float:
        return inf if self._read_at is None else self._now() - self._read_at

    def _may_read(self) -> bool:
        """Return whether the keys may be reread; uses up one read."""
        now = self._now()
        earned = (now - self._counted_at) / READ_INTERVAL_SECONDS
        self._reads_left, self._counted_at = min(READ_BURST, self._reads_left + earned), now
        if self._reads_left < 1:
            return False
        self._reads_left -= 1
        return True

    async def _read(self) -> None:
        try:
            self._url = self._url or await self._discovered_url()
            content = await self._http.get(self._url)
            found = jwt.PyJWKSet.from_dict(content).keys
        except (IssuerAway, jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
            logger.warning("the keys of %s could not be read: %s", self._issuer, error)
            self._is_away = True
            return
        self._is_away = False
        self._keys = [key for key in found if key.public_key_use in {"sig", None}]
        self._read_at = self._now()

    async def _discovered_url(self) -> str:
        """Return the address of the keys from the issuer's metadata: OpenID's, or RFC 8414's."""
        parts = urlsplit(self._issuer)
        path = parts.path.rstrip("/")
        root = f"{parts.scheme}://{parts.netloc}"
        places = (
            f"{root}{path}/.well-known/openid-configuration",
            f"{root}/.well-known/oauth-authorization-server{path}",
        )
        problems = []
        for place in places:
            try:
                metadata = await self._http.get(place)
            except IssuerAway as error:
                problems.append(str(error))
                continue
            url = metadata.get("jwks_uri")
            if metadata.get("issuer") != self._issuer or not isinstance(url, str):
                problems.append(f"{place} is not about {self._issuer}, or has no jwks_uri")
            elif urlsplit(url).scheme not in {"https", parts.scheme}:
                problems.append(f"{place} names {url}, which is not https")
            else:
                return url
        raise IssuerAway("; ".join(problems))


@dataclass(slots=True)
class _Kept:
    caller: Caller
    until: float


@dataclass(slots=True)
class IntrospectedTokens:
    """Opaque tokens, introspected by the issuer (RFC 7662).

    Args:
        rules: what every token must contain.
        http: sends requests to the issuer, with dagcall's client id and secret.
        url: the introspection endpoint.
        wall_clock: seconds since 1970, for tests.
    """

    rules: TokenPolicy
    http: IssuerHttp
    url: str
    wall_clock: Callable[[], float] = time.time
    _kept: dict[bytes, _Kept] = field(default_factory=dict)
    _refused: dict[bytes, float] = field(default_factory=dict)
    """Digest -> until when; separate, because anyone can invent tokens."""
    _at_once: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_ASKED_AT_ONCE))

    async def caller(self, token: str) -> Caller:
        """As `Tokens` says."""
        if len(token) > MAX_TOKEN:
            raise InvalidToken("it is too long")
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        now = self.wall_clock()
        kept = self._kept.get(digest)
        if kept is not None and now < kept.until:
            return kept.caller
        if now < self._refused.get(digest, -inf):
            raise InvalidToken("it was refused a moment ago")
        async with self._at_once:
            claims = await self.http.post(self.url, {"token": token, "token_type_hint": "access_token"})
        for answers in (self._kept, self._refused):
            if len(answers) >= MAX_KEPT:
                answers.clear()  # rare, and costs each caller one request
        try:
            caller = self.rules.caller(claims_for_us(claims, self.rules, now=now))
        except InvalidToken:
            self._refused[digest] = now + REFUSED_SECONDS
            raise
        self._kept[digest] = _Kept(caller, min(now + INTROSPECTION_SECONDS, float(claims["exp"])))
        return caller


def claims_for_us(claims: Mapping[str, Json], rules: TokenPolicy, *, now: float) -> Mapping[str, Json]:
    """Return the claims of an introspected token, if it is valid.

    Raises:
        InvalidToken: it is not.
    """
    if claims.get("active") is not True:
        raise InvalidToken("the issuer says that it is not active")
    if claims.get("iss", rules.issuer) != rules.issuer:
        raise InvalidToken("another issuer made it")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if not set(rules.audiences) & {item for item in named if isinstance(item, str)}:
        raise InvalidToken("it is for another audience")
    if _time(claims.get("exp"), otherwise=-inf) < now - LEEWAY_SECONDS:
        raise InvalidToken("it has expired, or has no expiry")
    if _time(claims.get("nbf", 0), otherwise=inf) > now + LEEWAY_SECONDS:
        raise InvalidToken("it is not valid yet")
    return claims


def _time(value: Json, *, otherwise: float) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else otherwise
