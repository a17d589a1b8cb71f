"""Which requests go through the environment's proxies. `test_tls` covers TLS, `tests/faults` covers faults."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from dagcall.airflow.http import AGENT, Transport
from dagcall.errors import AirflowUnreachable, ConfigError

UNRESOLVABLE = "http://airflow.invalid:8080/team"
"""This name does not resolve: only a proxy can answer for it."""
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Proxy:
    """Answers every request itself and records its head."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.address = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(ANSWER)
        await writer.drain()
        writer.close()


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    """A proxy that the environment variables do not name yet."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    proxy = Proxy()
    server = await asyncio.start_server(proxy.answer, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        proxy.address = f"{host}:{port}"
        yield proxy


async def status_of(url: str) -> int:
    transport = Transport(url, read_seconds=5.0, max_answer_bytes=1000)
    try:
        answer = await transport.send("GET", "/api/v2/version", headers={}, is_effect_possible=False)
        return answer.status
    finally:
        await transport.aclose()


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_request_goes_through_the_environments_proxy(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str
) -> None:
    monkeypatch.setenv(variable, f"{scheme}{proxy.address}")
    assert await status_of(UNRESOLVABLE) == 200
    (head,) = proxy.heads
    assert head.startswith(f"GET {UNRESOLVABLE}/api/v2/version HTTP/1.1\r\n")
    assert f"user-agent: {AGENT}\r\n" in head.lower()


async def test_host_in_no_proxy_is_contacted_directly(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
    monkeypatch.setenv("no_proxy", ".invalid")
    with pytest.raises(AirflowUnreachable, match="cannot be reached"):
        await status_of(UNRESOLVABLE)
    assert proxy.heads == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_local_airflow_is_contacted_directly(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    _, port = proxy.address.split(":")
    assert await status_of(f"http://{host}:{port}") == 200
    (head,) = proxy.heads
    assert head.startswith("GET /api/v2/version HTTP/1.1\r\n")


@pytest.mark.parametrize("bad", ["socks5://127.0.0.1:1080", "carrier-pigeon://127.0.0.1:1"])
async def test_unusable_proxy_is_a_config_error(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    monkeypatch.setenv("all_proxy", bad)
    with pytest.raises(ConfigError, match=r"the environment's proxy for http://airflow\.invalid:8080/team cannot be"):
        await status_of(UNRESOLVABLE)
    assert proxy.heads == []
