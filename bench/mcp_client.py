"""Calls over Streamable HTTP (revision 2026-07-28): one connection each, cheap enough for 10,000 at once."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Self

import h11

PROTOCOL = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": PROTOCOL,
    "io.modelcontextprotocol/clientCapabilities": {},
}
HOST = "127.0.0.1"
CHUNK = 65_536
FIRST_ERROR = 400


class NoAnswer(Exception):
    """The server did not answer with a result."""


class McpConnection:
    """One kept-alive connection to an MCP server of this machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        self._reader, self._writer, self._port = reader, writer, port
        self._http = h11.Connection(h11.CLIENT)

    @classmethod
    async def opened(cls, port: int) -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection(HOST, port, limit=CHUNK), port)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call a tool and return its result as on the wire."""
        params = {"name": name, "arguments": dict(arguments)}
        return await self._ask("tools/call", params, {"Mcp-Name": name})

    async def list_tools(self) -> dict[str, Any]:
        """Return the result of `tools/list`."""
        return await self._ask("tools/list", {}, {})

    async def _ask(self, method: str, params: dict[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params | {"_meta": META}}
        body = json.dumps(message).encode()
        fields = {
            "Host": f"{HOST}:{self._port}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": PROTOCOL,
            "Mcp-Method": method,
            **headers,
        }
        request = h11.Request(method="POST", target="/mcp", headers=list(fields.items()))
        for event in (request, h11.Data(data=body), h11.EndOfMessage()):
            self._writer.write(self._http.send(event) or b"")
        answer = await self._answer()
        self._http.start_next_cycle()
        if "result" not in answer:
            raise NoAnswer(f"{method}: {answer.get('error', answer)}")
        result: dict[str, Any] = answer["result"]
        return result

    async def _answer(self) -> dict[str, Any]:
        """Read one answer: the last message of a stream of events, or plain JSON."""
        content = b""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(CHUNK))
            elif isinstance(event, h11.Data):
                content += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.Response) and event.status_code >= FIRST_ERROR:
                raise NoAnswer(f"the server answered with status {event.status_code}")
            elif isinstance(event, h11.ConnectionClosed):
                raise NoAnswer("the server closed the connection")
        lines = content.decode().splitlines()
        data = [line.removeprefix("data:") for line in lines if line.startswith("data:")]
        answer: dict[str, Any] = json.loads(data[-1] if data else content)
        return answer
