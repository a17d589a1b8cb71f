"""From the start of a process to its first answered `tools/list`, over stdio, as a desktop client starts it."""

import asyncio
import json
import statistics
import sys
import time
from typing import Any

from bench.servers import HERE, Servers, environ
from bench.table import BARE, DAGCALL, Table

RUNS = 9
AGAIN = "again"
ANSWER_SECONDS = 30.0
PROTOCOL = "2025-11-25"
"""What desktop clients still speak: with a handshake."""


async def measure(table: Table, servers: Servers) -> None:
    """Start both servers in turns."""
    async with servers.fake_airflow(dags=5) as account:
        first, again = (
            [sys.executable, "-m", "dagcall", "serve", "--stdio", "--config", str(config)]
            for config in (
                servers.write_config(account, dags="double_*"),
                servers.write_config(account, dags="double_*", cache=servers.work / "cache"),
            )
        )
        bare = [sys.executable, str(HERE / "bare_server.py"), "stdio"]
        took: dict[str, list[float]] = {DAGCALL: [], AGAIN: [], BARE: []}
        for _ in range(RUNS):
            took[DAGCALL].append(await seconds_to_first_list(first, tools=8))
            took[AGAIN].append(await seconds_to_first_list(again, tools=8))
            took[BARE].append(await seconds_to_first_list(bare, tools=2))
    what = f"process start to first tools/list, median of {RUNS}"
    table.put("Start-up, stdio", what, "s", DAGCALL, statistics.median(took[DAGCALL]), at_most=1.5)
    table.put("Start-up, stdio", what, "s", BARE, statistics.median(took[BARE]))
    table.put("Start-up, stdio", f"{what}, with the tools remembered", "s", DAGCALL, statistics.median(took[AGAIN]))


async def seconds_to_first_list(command: list[str], *, tools: int) -> float:
    """Start a server, shake hands, list its tools, and stop it."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environ(),
        limit=2**20,
    )
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            client = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
            await _ask(process, {"id": 1, "method": "initialize", "params": client})
            _tell(process, {"method": "notifications/initialized"})
            listed = await _ask(process, {"id": 2, "method": "tools/list", "params": {}})
        took = time.perf_counter() - began
        found = len(listed["result"]["tools"])
        if found != tools:
            raise RuntimeError(f"{found} tools were listed, not {tools}")
        return took
    finally:
        process.kill()
        await process.wait()


def _tell(process: asyncio.subprocess.Process, message: dict[str, Any]) -> None:
    assert process.stdin is not None  # noqa: S101 - a pipe above
    process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


async def _ask(process: asyncio.subprocess.Process, message: dict[str, Any]) -> dict[str, Any]:
    _tell(process, message)
    assert process.stdout is not None  # noqa: S101 - a pipe above
    while line := await process.stdout.readline():
        answer: dict[str, Any] = json.loads(line)
        if answer.get("id") == message["id"]:
            return answer
    raise RuntimeError("the server ended before it answered")
