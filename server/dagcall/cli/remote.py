"""The connection to a running server, for `dagcall call --url`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from dagcall.errors import DagcallError

REFUSALS = frozenset({401, 403})


@asynccontextmanager
async def connected(url: str, credential: str | None, **options: Any) -> AsyncIterator[Client]:
    """Connect to an MCP server.

    Args:
        url: the server's address.
        credential: the token or key for it.
        options: options of the SDK's client.

    Raises:
        DagcallError: the server cannot be reached, or refuses the credential.
    """
    refusals: list[int] = []

    async def note_refusal(response: Any) -> None:
        if response.status_code in REFUSALS:
            refusals.append(response.status_code)

    http = create_mcp_http_client({} if credential is None else {"Authorization": f"Bearer {credential}"})
    http.event_hooks = {"response": [note_refusal]}
    try:
        async with http, Client(streamable_http_client(url, http_client=http), **options) as client:
            yield client
    except ExceptionGroup as group:
        leaf = first_leaf(group)
        if isinstance(leaf, DagcallError):
            raise
        if refusals:
            raise DagcallError(
                f"the MCP server at {url} does not let this caller in (status {refusals[0]}); give a file with a valid "
                "token or key with --token-file"
            ) from group
        raise DagcallError(f"no MCP server can be called at {url}: {str(leaf) or type(leaf).__name__}") from group


def first_leaf(error: Exception) -> Exception:
    """Return the first error that a task group wrapped."""
    return first_leaf(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error
