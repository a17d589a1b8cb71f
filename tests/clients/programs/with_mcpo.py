"""mcpo, which turns an MCP server into an HTTP API, and a client of this API."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
from job import Seen, each

MCPO = Path(sys.executable).with_name("mcpo")
START_SECONDS = 120


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def paths_of(http):
    """Wait until the API is ready; return its paths."""
    ends = time.monotonic() + START_SECONDS
    while True:
        try:
            paths = http.get("/openapi.json").json()["paths"]
        except httpx.TransportError:
            paths = {}
        if paths or time.monotonic() > ends:
            return paths
        time.sleep(0.2)


def use(http, seen: Seen):
    job = seen.job
    seen.tools = [path.removeprefix("/") for path in paths_of(http)]
    if job.gives_up:
        try:
            http.post(f"/{job.tool}", json=job.arguments, timeout=job.patience)
        except httpx.ReadTimeout as error:
            seen.texts.append(repr(error))
    if job.action != "list":
        answer = http.post(f"/{job.tool}", json=job.arguments)
        seen.is_error = answer.is_error
        body = answer.json()
        seen.texts.append(body["detail"]["error"] if answer.is_error else json.dumps(body))


async def act(seen: Seen):
    job, port = seen.job, free_port()
    server = ["--server-type", "streamable-http", "--", job.url] if job.url else ["--", *job.command]
    words = ["--host", "127.0.0.1", "--port", str(port), *server]
    with subprocess.Popen([MCPO, *words], env=job.environ, stdout=subprocess.DEVNULL) as process:  # noqa: ASYNC220, S603
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120) as http:
                use(http, seen)
        finally:
            process.terminate()


each(act)
