"""Which requests the middleware admits, beyond the HTTP requests that tests/processes/test_callers.py sends."""

import logging
from collections.abc import MutableMapping
from typing import Any

import jwt
import pytest
from starlette.types import Receive, Send

from dagcall.auth.middleware import MAX_REASON, AuthMiddleware
from dagcall.auth.tokens import JwtTokens
from tests.unit.auth.test_tokens import RULES, Issuer

Scope = MutableMapping[str, Any]


async def asked(admission: AuthMiddleware, scope: Scope) -> tuple[list[str], list[Any]]:
    """Send a request through the guard; return the types of the requests that reached the app, and the answers."""
    reached: list[str] = []
    answers: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - an ASGI application
        reached.append(scope["type"])

    async def receive() -> Scope:
        raise AssertionError("the middleware does not read a body")

    async def send(message: Scope) -> None:
        answers.append(message)

    await admission.guard(app)(scope, receive, send)
    return reached, answers


def scope_of(kind: str, path: str = "/mcp", **headers: str) -> Scope:
    return {"type": kind, "path": path, "headers": [(key.encode(), value.encode()) for key, value in headers.items()]}


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_every_kind_of_request_requires_a_token(kind: str) -> None:
    reached, answers = await asked(AuthMiddleware(None, None), scope_of(kind))

    assert reached == []
    assert answers[0]["status"] == 401


async def test_lifespan_and_open_paths_require_no_token() -> None:
    admission = AuthMiddleware(None, None, open_paths={"/health"})

    assert await asked(admission, {"type": "lifespan"}) == (["lifespan"], [])
    assert await asked(admission, scope_of("http", "/health")) == (["http"], [])


async def test_log_message_about_a_refused_token_is_short(caplog: pytest.LogCaptureFixture) -> None:
    issuer = Issuer()
    token = jwt.encode({}, "x" * 32, "HS256", headers={"crit": ["x" * 9000], "x" * 9000: 1})

    with caplog.at_level(logging.INFO):
        _, answers = await asked(
            AuthMiddleware(None, JwtTokens(RULES, issuer.keys)), scope_of("http", authorization=f"Bearer {token}")
        )

    assert answers[0]["status"] == 401
    (record,) = caplog.records
    assert len(record.getMessage()) < MAX_REASON + 50
