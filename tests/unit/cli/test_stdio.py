"""stdin and stdout: which answers were written, and where other output goes."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from mcp_types import ErrorData, JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse, RequestId

from dagcall.cli.stdio import AnswersOut

SEPARATORS = "a\u0085b\u2028c\u2029d"
MORE_THAN_A_PIPE_HOLDS = "x" * 1_000_000


@dataclass
class Client:
    """The reader of our stdout, and what dagcall reported about it."""

    reads: int
    writes: int
    written: list[RequestId] = field(default_factory=list)
    times_gone: int = 0

    def out(self) -> AnswersOut:
        return AnswersOut(self.writes, on_written=self.written.append, on_gone=self._record_gone)

    def read(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            found += os.read(self.reads, count - len(found))
        return found

    def _record_gone(self) -> None:
        self.times_gone += 1


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client(*os.pipe())
    yield client
    # No thread is still writing: each test has read everything or closed the reading end.
    os.close(client.writes)
    if client.reads >= 0:
        os.close(client.reads)


def line_of(message: JSONRPCResponse | JSONRPCError | JSONRPCNotification | JSONRPCRequest) -> str:
    """Return a message as the SDK writes it."""
    return message.model_dump_json(by_alias=True, exclude_unset=True) + "\n"


def answer(request_id: RequestId, **result: Any) -> str:
    return line_of(JSONRPCResponse(jsonrpc="2.0", id=request_id, result=result))


@pytest.mark.parametrize(
    "request_id",
    [7, 0, -1, 2**70, "", pytest.param("7", id="7 as text"), "seven", 'a "quoted" \\ one', "\\", "Anfrage ü\n", "東京"],
)
async def test_written_answer_is_reported_by_its_request_id(client: Client, request_id: RequestId) -> None:
    text = answer(request_id, id="another", a=SEPARATORS)

    await client.out().write(text)

    (line,) = os.read(client.reads, 10_000).decode().splitlines()
    assert json.loads(line) == json.loads(text)
    assert client.written == [request_id]
    assert type(client.written[0]) is type(request_id)


@pytest.mark.parametrize(
    "message",
    [
        JSONRPCNotification(jsonrpc="2.0", method="notifications/progress", params={"id": 7, "result": {}}),
        JSONRPCRequest(jsonrpc="2.0", id=7, method="elicitation/create", params={"result": {}}),
        JSONRPCError(jsonrpc="2.0", id=7, error=ErrorData(code=-32603, message="no result")),
        JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=-32700, message="no request")),
    ],
)
async def test_message_without_an_outcome_is_not_reported_as_written(
    client: Client, message: JSONRPCNotification | JSONRPCRequest | JSONRPCError
) -> None:
    await client.out().write(line_of(message))

    assert os.read(client.reads, 10_000).decode() == line_of(message)
    assert client.written == []


async def test_answer_counts_as_written_only_after_its_last_byte(client: Client) -> None:
    out, text = client.out(), answer(7, a=MORE_THAN_A_PIPE_HOLDS)

    writing = asyncio.create_task(out.write(text))
    beginning = await asyncio.to_thread(client.read, 1000)
    assert (client.written, out.idle.is_set()) == ([], False)
    rest = await asyncio.to_thread(client.read, len(text) - 1000)
    await writing

    assert (beginning + rest).decode() == text
    assert (client.written, out.idle.is_set()) == ([7], True)


async def test_write_to_a_stalled_client_can_be_cancelled(client: Client) -> None:
    out, text = client.out(), answer(7, a=MORE_THAN_A_PIPE_HOLDS)
    writing = asyncio.create_task(out.write(text))
    await asyncio.to_thread(client.read, 1)

    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert writing.cancelled()
    assert out.idle.is_set()

    await asyncio.to_thread(client.read, len(text) - 1)  # the client reads again, too late for this answer
    await out.write(answer(8))
    assert client.written == [8]


async def test_client_that_closes_its_end_is_reported_as_gone(client: Client) -> None:
    out = client.out()
    writing = asyncio.create_task(out.write(answer(7, a=MORE_THAN_A_PIPE_HOLDS)))
    await asyncio.to_thread(client.read, 1)

    os.close(client.reads)
    client.reads = -1
    await writing
    await out.write(answer(8))
    await out.flush()

    assert client.written == []
    assert client.times_gone == 2


def test_other_output_goes_to_stderr() -> None:
    program = """
import os, subprocess
from dagcall.cli.stdio import own_stdout

print("before", end=" ")
with own_stdout() as wire:
    print("from Python", end=" ")
    os.write(1, b"by hand ")
    subprocess.run(["echo", "from a child"], check=True)
    os.write(wire, b"message ")
print("after")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603 - ours

    assert done.stdout == "before message after\n"
    assert sorted(done.stderr.split()) == sorted(["from", "Python", "by", "hand", "from", "a", "child"])


async def test_write_that_finishes_after_the_event_loop_is_not_reported(client: Client) -> None:
    """The process stops while its client does not read; the client reads the rest later."""

    async def stopped() -> None:
        writing = asyncio.create_task(client.out().write(text))
        await asyncio.to_thread(client.read, 1)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)

    text = answer(7, a=MORE_THAN_A_PIPE_HOLDS)
    await asyncio.to_thread(asyncio.run, stopped())
    await asyncio.to_thread(client.read, len(text) - 1)
    assert client.written == []
