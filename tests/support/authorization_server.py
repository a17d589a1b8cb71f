"""An authorization server as a resource server sees it: metadata, keys and introspection.

It signs with real keys and answers over HTTP: on a socket with `served`, or as an ASGI application.
"""

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.support.on_a_socket import on_a_socket

AUDIENCE = "https://dagcall.example/mcp"
CLIENT = ("dagcall", "the client's secret")
_MAKERS: dict[str, Callable[[], Any]] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
_WRITERS: dict[str, Callable[..., Any]] = {
    "RS256": RSAAlgorithm.to_jwk,
    "ES256": ECAlgorithm.to_jwk,
    "EdDSA": OKPAlgorithm.to_jwk,
}


class SigningKey:
    """A private key and its public key."""

    def __init__(self, key_id: str, algorithm: str = "RS256") -> None:
        self.key_id = key_id
        self.algorithm = algorithm
        self.private = _MAKERS[algorithm]()

    @property
    def published(self) -> dict[str, Any]:
        own = {"kid": self.key_id, "use": "sig", "alg": self.algorithm}
        return {**_WRITERS[self.algorithm](self.private.public_key(), as_dict=True), **own}

    @property
    def public_pem(self) -> bytes:
        """What an attacker might sign with, hoping that it is used as a shared secret."""
        pem: bytes = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem


class AuthorizationServer:
    """The authorization server at `issuer`."""

    def __init__(self, issuer: str = "http://127.0.0.1:1") -> None:
        self.issuer = issuer
        self.keys = [SigningKey("first")]
        self.key_reads = 0
        self.questions = 0
        self.is_away = False
        self.introspected: dict[str, dict[str, Any]] = {}

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Return the claims of a valid token; a claim changed to None is omitted."""
        now = int(time.time())
        good = {"iss": self.issuer, "aud": AUDIENCE, "sub": "u-1", "iat": now, "exp": now + 300, "scope": "dags.run"}
        return {name: value for name, value in (good | changed).items() if value is not None}

    def token(self, key: SigningKey | None = None, header: dict[str, Any] | None = None, **changed: Any) -> str:
        """Return a signed token; a claim or a header field changed to None is omitted."""
        key = key or self.keys[0]
        headers = {name: value for name, value in ({"kid": key.key_id} | (header or {})).items() if value is not None}
        return jwt.encode(self.claims(**changed), key.private, key.algorithm, headers=headers)

    def rotate(self, key: SigningKey) -> None:
        """Replace the signing keys with another one."""
        self.keys = [key]

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._metadata),
                Route("/keys", self._keys),
                Route("/introspect", self._introspect, methods=["POST"]),
            ]
        )

    async def _metadata(self, _: Request) -> JSONResponse:
        return JSONResponse({"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"}, 503 if self.is_away else 200)

    async def _keys(self, _: Request) -> JSONResponse:
        self.key_reads += 1
        return JSONResponse({"keys": [key.published for key in self.keys]}, 503 if self.is_away else 200)

    async def _introspect(self, request: Request) -> JSONResponse:
        self.questions += 1
        expected = base64.b64encode(":".join(CLIENT).encode()).decode()
        if self.is_away or request.headers.get("authorization") != f"Basic {expected}":
            return JSONResponse({"error": "invalid_client"}, 503 if self.is_away else 401)
        form = (await request.body()).decode().split("&")
        token = dict(part.split("=", 1) for part in form)["token"]
        return JSONResponse(self.introspected.get(token, {"active": False}))


@contextmanager
def served(authority: AuthorizationServer | None = None) -> Iterator[AuthorizationServer]:
    """Serve an authorization server on a free port of the loopback interface until the block ends."""
    authority = authority or AuthorizationServer()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answering(scope, receive, send)

    with on_a_socket(app) as url:
        authority.issuer = url
        answering = authority.app  # the app contains the URL
        yield authority
