"""mcpo, which makes an HTTP API of an MCP server, and a caller of that API."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
from job import JOB, say

MCPO = Path(sys.executable).with_name("mcpo")
START_SECONDS = 60


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def paths_of(http):
    """Wait until the API is there; return its paths."""
    ends = time.monotonic() + START_SECONDS
    while True:
        try:
            paths = http.get("/openapi.json").json()["paths"]
        except httpx.TransportError:
            paths = {}
        if paths or time.monotonic() > ends:
            return paths
        time.sleep(0.2)


def act(http):
    tools = [path.removeprefix("/") for path in paths_of(http)]
    if JOB.action == "list":
        say(tools=tools)
        return
    gave_up = []
    if JOB.action == "repeat":
        try:
            http.post(f"/{JOB.tool}", json=JOB.arguments, timeout=JOB.patience)
        except httpx.ReadTimeout as error:
            gave_up.append(repr(error))
    answer = http.post(f"/{JOB.tool}", json=JOB.arguments)
    text = answer.json()["detail"]["message"] if answer.is_error else json.dumps(answer.json())
    say(text=text, is_error=answer.is_error, gave_up=gave_up)


port = free_port()
server = ["--server-type", "streamable-http", "--", JOB.url] if JOB.url else ["--", *JOB.command]
with subprocess.Popen(  # noqa: S603 - our own command
    [MCPO, "--host", "127.0.0.1", "--port", str(port), *server],
    env=JOB.environ,
    stdout=subprocess.DEVNULL,
) as process:
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120) as http:
            act(http)
    finally:
        process.terminate()
