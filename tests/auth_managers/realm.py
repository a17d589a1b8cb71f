"""A realm of Keycloak: the endpoints that Airflow's auth manager for Keycloak uses.

Keycloak itself is a Java server, too large to start here. Tokens, grants, permissions and errors follow its
documentation, and what the auth manager expects of it.
"""

import base64
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.support.authorization_server import SigningKey
from tests.support.on_a_socket import on_a_socket

REALM = "airflow"
CLIENT_ID, CLIENT_SECRET = "airflow-client", "the client's secret"
PATH = f"/realms/{REALM}/protocol/openid-connect"
UMA = "urn:ietf:params:oauth:grant-type:uma-ticket"


@dataclass(frozen=True)
class User:
    """An account of the realm, or the service account of a client."""

    password: str = ""
    dags: frozenset[str] | None = None
    """The dags that it sees; None for all."""
    may_start: bool = True
    access_seconds: float | None = None
    """How long its access tokens live; None for the realm's own value."""


class Realm:
    """The realm.

    Args:
        users: name -> account.
        service_account: the account of the client that Airflow uses.
    """

    def __init__(self, users: Mapping[str, User], service_account: User) -> None:
        self.users = {**users, CLIENT_ID: service_account}
        self.access_seconds = 300.0
        """Keycloak's default."""
        self.is_away = False
        self.counts: Counter[str] = Counter()
        """Requests by grant, and `userinfo`."""
        self._key = SigningKey("realm")
        self._sessions: Counter[str] = Counter()
        self.url = ""

    def close_sessions(self, name: str) -> None:
        """Log an account out, as an administrator can."""
        self._sessions[name] += 1

    @contextmanager
    def served(self) -> Iterator[None]:
        """Serve the realm until the block ends."""
        app = Starlette(
            routes=[
                Route(f"{PATH}/token", self._token, methods=["POST"]),
                Route(f"{PATH}/userinfo", self._userinfo),
                Route(f"{PATH}/certs", self._certs),
            ]
        )
        with on_a_socket(app) as self.url:
            yield

    def _access_token(self, name: str) -> str:
        seconds = self.users[name].access_seconds or self.access_seconds
        claims = {
            "iss": f"{self.url}/realms/{REALM}",
            "sub": f"id-of-{name}",
            "preferred_username": name,
            "azp": CLIENT_ID,
            "exp": int(time.time() + seconds),
            "sid": self._sessions[name],
        }
        return jwt.encode(claims, self._key.private, self._key.algorithm, headers={"kid": self._key.key_id})

    def _bearer(self, request: Request) -> str | None:
        """Return whose valid token a request has; None if it has none."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            claims = jwt.decode(token, self._key.public_pem, [self._key.algorithm], options={"verify_aud": False})
        except jwt.PyJWTError:
            return None
        name = str(claims["preferred_username"])
        return name if claims["sid"] == self._sessions[name] else None

    async def _token(self, request: Request) -> JSONResponse:
        form = {key: values[0] for key, values in parse_qs((await request.body()).decode()).items()}
        grant = form["grant_type"]
        self.counts[grant.rpartition(":")[2]] += 1
        if self.is_away:
            return JSONResponse({"error": "unknown_error"}, 503)
        if grant == UMA:
            return self._permission(self._bearer(request), form)
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return JSONResponse({"error": "unauthorized_client"}, 401)
        name = form.get("username", CLIENT_ID)
        if grant == "password" and (name not in self.users or self.users[name].password != form["password"]):
            return JSONResponse({"error": "invalid_grant", "error_description": "Invalid user credentials"}, 401)
        tokens = {"access_token": self._access_token(name), "expires_in": 300, "token_type": "Bearer"}
        return JSONResponse(tokens | ({"refresh_token": "r"} if grant == "password" else {}))

    def _permission(self, name: str | None, form: Mapping[str, str]) -> JSONResponse:
        """Answer whether an account has a permission, such as `Dag#GET` with the dag's id as a claim."""
        if name is None:
            return JSONResponse({"error": "invalid_grant", "error_description": "Invalid bearer token"}, 400)
        user = self.users[name]
        resource, _, scope = form["permission"].partition("#")
        claims: dict[str, Any] = json.loads(base64.b64decode(form.get("claim_token", "e30=")))
        dag_id = claims.get("resource_id", [None])[0]
        may_see = resource != "Dag" or dag_id in {None, "~"} or user.dags is None or dag_id in user.dags
        may_do = scope in {"GET", "LIST", "MENU"} or user.may_start
        if may_see and may_do:
            return JSONResponse({"upgraded": False, "access_token": "rpt", "token_type": "Bearer"})
        return JSONResponse({"error": "access_denied", "error_description": "not_authorized"}, 403)

    async def _userinfo(self, request: Request) -> JSONResponse:
        self.counts["userinfo"] += 1
        if (name := self._bearer(request)) is None:
            return JSONResponse({"error": "invalid_token"}, 401)
        return JSONResponse({"sub": f"id-of-{name}", "preferred_username": name})

    async def _certs(self, _: Request) -> JSONResponse:
        return JSONResponse({"keys": [self._key.published]})
