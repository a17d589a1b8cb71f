"""Streamable HTTP in front of `dagcall serve --stdio`, for a suite that only supports HTTP.

Each client session has its own process. Messages are forwarded unchanged; requests and notifications of the server are
sent on the stream of the oldest waiting request.
"""

import json
import queue
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.support.on_a_socket import on_a_socket
from tests.support.serving_process import Message, StdioServer, stdio_server

SESSION = "Mcp-Session-Id"
QUIET_SECONDS = 600.0
"""How long a server may be silent."""


class Session:
    """One process and the requests waiting for its answers."""

    def __init__(self, server: StdioServer) -> None:
        self._server = server
        self._waiting: dict[object, queue.Queue[Message | None]] = {}
        threading.Thread(target=self._pass_on, daemon=True).start()

    def send(self, message: Message) -> None:
        """Send a message that gets no answer."""
        self._server.send(message)

    def ask(self, message: Message) -> Iterator[str]:
        """Send a request; return the messages up to its answer as events."""
        arriving = self._waiting[message["id"]] = queue.Queue()
        self._server.send(message)
        return (f"event: message\ndata: {json.dumps(found)}\n\n" for found in iter(arriving.get, None))

    def end(self) -> None:
        self._server.process.kill()

    def _pass_on(self) -> None:
        try:
            while True:
                message = json.loads(self._server.output.until(lambda _: True, seconds=QUIET_SECONDS))
                if "method" in message:
                    for oldest in [*self._waiting.values()][:1]:
                        oldest.put(message)
                else:
                    arriving = self._waiting.pop(message["id"])
                    arriving.put(message)
                    arriving.put(None)
        except AssertionError:  # the process has ended
            for waiting in self._waiting.values():
                waiting.put(None)


@contextmanager
def stdio_bridge(environ: Mapping[str, str]) -> Iterator[str]:
    """Serve on a free port of the loopback interface until the block ends; yield the URL.

    Args:
        environ: the environment of `dagcall serve --stdio`.
    """
    sessions: dict[str, Session] = {}
    with ExitStack() as running:

        async def post(request: Request) -> Response:
            message: Message = await request.json()
            name = request.headers.get(SESSION, "")
            if message.get("method") == "initialize":
                name = secrets.token_hex(16)
                sessions[name] = Session(running.enter_context(stdio_server(environ)))
            if name not in sessions:
                return Response(status_code=404 if name else 400)
            if "id" in message and "method" in message:
                events = sessions[name].ask(message)
                return StreamingResponse(events, media_type="text/event-stream", headers={SESSION: name})
            sessions[name].send(message)
            return Response(status_code=202)

        async def delete(request: Request) -> Response:
            if session := sessions.pop(request.headers.get(SESSION, ""), None):
                session.end()
            return Response(status_code=200 if session else 404)

        routes = [Route("/mcp", post, methods=["POST"]), Route("/mcp", delete, methods=["DELETE"])]
        with on_a_socket(Starlette(routes=routes)) as url:
            try:
                yield f"{url}/mcp"
            finally:  # otherwise a waiting request would keep the server running
                for session in sessions.values():
                    session.end()
