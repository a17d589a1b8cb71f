"""Streamable HTTP for clients before 2026-07-28, without sessions.

* Such a client sends its name once, with `initialize`. The session id in the answer contains the name, and the client
  sends that id with each later request, to any replica. It proves nothing and decides nothing.
* Such a client may open a stream with GET for messages from the server. Without sessions there are none, so GET is
  refused with 405, as the protocol allows.
"""

import base64
import binascii
import json
import secrets
from collections.abc import Mapping

from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dagcall.mcp.request import CLIENT_KEY, client_name
from dagcall.plain_json import Json

SESSION_HEADER = b"mcp-session-id"
MAX_INITIALIZE_BYTES = 65_536
"""A longer body is not parsed."""


def with_client_names(app: ASGIApp, *, path: str) -> ASGIApp:
    """Store in each request's scope the client name from `initialize`; refuse GET.

    Args:
        app: the application that serves MCP.
        path: the path at which it serves MCP.
    """

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != path:
            await app(scope, receive, send)
        elif scope["method"] == "GET":
            headers = [(b"allow", b"POST"), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 405, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        elif (session_id := _header(scope, SESSION_HEADER)) is not None:
            scope[CLIENT_KEY] = name_in(session_id)
            await app(scope, receive, send)
        elif _may_initialize(scope):
            body, again = await _read(receive)
            name = _name_given(body)
            await app(scope, again, send if name is None else _with_session_id(send, session_id_of(name)))
        else:
            await app(scope, receive, send)

    return named


def session_id_of(name: str) -> str:
    """Return a new session id that contains a client's name."""
    return f"{secrets.token_urlsafe(16)}.{base64.urlsafe_b64encode(name.encode()).decode().rstrip('=')}"


def name_in(session_id: str) -> str | None:
    """Return the name in a session id; None if it is not one of ours."""
    encoded = session_id.partition(".")[2]
    try:
        return client_name(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()) or None
    except (binascii.Error, ValueError):
        return None


def _may_initialize(scope: Scope) -> bool:
    if scope["method"] != "POST":
        return False
    version = _header(scope, MCP_PROTOCOL_VERSION_HEADER.encode())
    return version is None or version in HANDSHAKE_PROTOCOL_VERSIONS


def _header(scope: Scope, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """Return a request's body, up to the limit, and a `receive` that replays the request from its start."""
    messages: list[Message] = []
    body = b""
    while len(body) <= MAX_INITIALIZE_BYTES:
        message = await receive()
        messages.append(message)
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return body, again


def _name_given(body: bytes) -> str | None:
    try:
        message: Json = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, Mapping) or message.get("method") != "initialize":
        return None
    params = message.get("params")
    info = params.get("clientInfo") if isinstance(params, Mapping) else None
    if not isinstance(info, Mapping):
        return None
    return client_name(*(said for key in ("name", "version") if isinstance(said := info.get(key), str))) or None


def _with_session_id(send: Send, session_id: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:  # noqa: PLR2004 - HTTP's OK
            headers = [*message["headers"], (SESSION_HEADER, session_id.encode())]
            message = {**message, "headers": headers}
        await send(message)

    return sending
