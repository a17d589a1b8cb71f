"""Users and tokens, as Airflow's SimpleAuthManager keeps them; in part, as the auth manager for Keycloak does."""

import base64
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import httpx

from tests.fake_airflow.runs import Clock
from tests.fake_airflow.wire import Refusal


@dataclass(frozen=True)
class FakeUser:
    name: str
    password: str
    role: Literal["admin", "viewer"] = "admin"
    readable: frozenset[str] | None = None
    """The dags that the user may read; None for all."""
    may_read_versions: bool = True

    def may_read(self, dag_id: str) -> bool:
        return dag_id == "~" or self.readable is None or dag_id in self.readable


JWT_LEEWAY_SECONDS = 10
"""Airflow's `[api_auth] jwt_leeway`."""
USERS = (FakeUser("admin", "admin"), FakeUser("viewer", "viewer", "viewer"))
ANONYMOUS = FakeUser("Anonymous", "")


class FakeAccess:
    """Access control. `all_admins` is `[core] simple_auth_manager_all_admins`: everyone is an admin without a token."""

    def __init__(self, clock: Clock, users: Sequence[FakeUser] = USERS, *, all_admins: bool = False) -> None:
        self.clock = clock
        self.users = {user.name: user for user in users}
        self.all_admins = all_admins
        self.token_seconds: float = 86400
        """`[api_auth] jwt_expiration_time`."""
        self.clients: dict[str, str] = {}
        """Client id -> secret, for the log-in of OAuth clients; only Keycloak's auth manager has it."""
        self.keycloak_seconds: float | None = None
        """How long the token inside each token lives; None for tokens without one."""
        self._sessions = 0
        """Tokens with another number in the token inside belong to closed sessions."""
        self.logins = 0
        """How many tokens were issued over HTTP."""
        self._secret = b"0"

    def token(self, name: str = "admin", *, seconds: float | None = None) -> str:
        """Return a token that expires in `seconds` by the fake's clock (default: `token_seconds`)."""
        now = self.clock.now()
        lifetime = timedelta(seconds=self.token_seconds if seconds is None else seconds)
        claims = {
            "sub": name,
            "jti": uuid.uuid4().hex,
            "aud": "apache-airflow",
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int((now + lifetime).timestamp()),
        }
        if self.keycloak_seconds is not None:
            inside = {"exp": int(now.timestamp() + self.keycloak_seconds), "session": self._sessions}
            claims["access_token"] = f".{_base64url(json.dumps(inside).encode())}."
        head = ".".join(_base64url(json.dumps(part).encode()) for part in ({"alg": "HS512", "typ": "JWT"}, claims))
        return f"{head}.{self._signature(head)}"

    def revoke_tokens(self) -> None:
        """Invalidate all tokens: 403 "Invalid JWT token"."""
        self._secret += b"0"

    def close_sessions(self) -> None:
        """End the tokens inside all tokens, as Keycloak's administrator can: Airflow accepts the outer ones."""
        self._sessions += 1

    def log_in(self, request: httpx.Request) -> str:
        """Answer `POST /auth/token`."""
        body = json.loads(request.content)
        if body.get("grant_type") == "client_credentials" and self.clients:
            if self.clients.get(body["client_id"]) != body["client_secret"]:
                raise Refusal(403, "Client credentials authentication failed")
            self.logins += 1
            return self.token(body["client_id"])
        missing = [name for name in ("username", "password") if name not in body]
        if missing:
            raise Refusal(422, f"{len(missing)} validation error for LoginBody\n{missing[0]}\n  Field required")
        user = self.users.get(body["username"])
        if user is None or user.password != body["password"]:
            raise Refusal(401, "Invalid credentials")
        self.logins += 1
        return self.token(user.name)

    def log_in_anonymously(self) -> str:
        """Answer `GET /auth/token`."""
        if not self.all_admins:
            raise Refusal(403, "This method is only allowed if ``[core] simple_auth_manager_all_admins`` is True")
        self.logins += 1
        return self.token(ANONYMOUS.name)

    def user(self, request: httpx.Request) -> FakeUser:
        """Return the user of a request; 401 for a missing or expired token, 403 for an invalid one."""
        match = re.fullmatch(r"bearer (.+)", request.headers.get("authorization", ""), re.IGNORECASE)
        if match is None:
            if self.all_admins:
                return ANONYMOUS
            raise Refusal(401, "Not authenticated")
        claims = self._claims(match[1])
        if claims["exp"] + JWT_LEEWAY_SECONDS <= self.clock.now().timestamp():
            raise Refusal(401, "Token Expired")
        if "access_token" in claims and self._has_ended(claims["access_token"]):
            return FakeUser(claims["sub"], "", "viewer", frozenset())
        return self.users.get(claims["sub"], ANONYMOUS)

    def _has_ended(self, inside: str) -> bool:
        claims = _payload(inside)
        return bool(claims["exp"] <= self.clock.now().timestamp() or claims["session"] != self._sessions)

    def _claims(self, token: str) -> dict[str, Any]:
        head, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(head).encode()):
            raise Refusal(403, "Invalid JWT token")
        return _payload(token)

    def _signature(self, head: str) -> str:
        return _base64url(hmac.new(self._secret, head.encode(), hashlib.sha512).digest())


def _payload(token: str) -> dict[str, Any]:
    text = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return claims


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
