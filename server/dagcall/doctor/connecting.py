"""The probes of the network: names, ports, certificates, and the address that callers use. They need no log-in."""

import asyncio
import ssl
import time
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from dagcall.airflow import Transport, proxy_for, tls_problem
from dagcall.doctor.network import Certificate, Connection, Lookup, PublicUrl
from dagcall.errors import AirflowError
from dagcall.settings import is_loopback, trusting
from dagcall.text import in_one_line

CONNECT_SECONDS = 3.0
READ_SECONDS = 15.0
MAX_BYTES = 4 * 1024 * 1024
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


async def lookup(url: str) -> Lookup:
    """Look up a host."""
    host, port = _place(urlsplit(url))
    if (proxy := proxy_for(url)) is not None:
        return Lookup(host, proxy=proxy)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port)
    except OSError as error:
        return Lookup(host, error=_reason(error))
    return Lookup(host, tuple(dict.fromkeys(str(address[0]) for *_, address in found)))


async def connection(url: str) -> Connection:
    """Open and close a connection to a server, or to the environment's proxy for it."""
    host, port = _place(urlsplit(proxy_for(url) or url))
    place = f"{f'[{host}]' if ':' in host else host}:{port}"
    began = time.monotonic()
    try:
        await _connect(host, port)
    except OSError as error:
        return Connection(place, error=_reason(error))
    return Connection(place, time.monotonic() - began)


async def certificate(url: str, context: ssl.SSLContext, ca_file: Path | None, now: float) -> Certificate:
    """Verify the certificate of a server.

    Args:
        url: its address.
        context: how to verify it.
        ca_file: the file of authorities that the context trusts; None for the system's.
        now: the time by this machine's clock, in seconds since 1970.
    """
    parts, proxy = urlsplit(url), proxy_for(url)
    host, port = _place(parts)
    trust = "this system's certificate authorities" if ca_file is None else f"{ca_file} (airflow.ca_file)"
    if parts.scheme != "https":
        return Certificate(trust, is_tls=False, is_on_this_machine=is_loopback(host))
    if proxy is not None:
        return Certificate(trust, proxy=proxy)
    try:
        shown = await _connect(host, port, context)
    except OSError as error:
        problem = tls_problem(error, "airflow") or f"no TLS connection: {_reason(error)}"
        return Certificate(trust, issuer=await asyncio.to_thread(_issuer_at, host, port), problem=problem)
    until = shown.get("notAfter")
    left = None if until is None else ssl.cert_time_to_seconds(str(until)) - now
    issuer = dict(name for names in shown.get("issuer", ()) for name in names)
    return Certificate(trust, issuer=issuer.get("commonName", ""), seconds_left=left)


async def public_url(url: str, *, is_plain: bool) -> PublicUrl:
    """Send what MCP clients send, with the authorities that they trust, and without a key.

    Args:
        url: the address that callers use.
        is_plain: whether keys and results cross a network in plain text.
    """
    found = partial(PublicUrl, url, is_plain=is_plain)
    verify = trusting(None, "server.public_url")
    there = Transport(url, read_seconds=READ_SECONDS, max_answer_bytes=MAX_BYTES, verify=verify)
    headers = {"Accept": "application/json, text/event-stream"}
    try:
        answer = await there.send("POST", "", headers=headers, body=PING, is_effect_possible=False)
    except AirflowError as error:
        problem = tls_problem(error, "server") or _reason(error.__cause__ or error)
        return found(error=problem.partition(". ")[0])
    finally:
        await there.aclose()
    asks_for_key = "bearer" in answer.headers.get("www-authenticate", "").lower()
    is_refusal = answer.status == HTTPStatus.UNAUTHORIZED and asks_for_key
    return found(status=answer.status, is_dagcall=is_refusal or b'"jsonrpc"' in answer.content)


def _place(parts: SplitResult) -> tuple[str, int]:
    """Return host and port of an address."""
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


async def _connect(host: str, port: int, context: ssl.SSLContext | None = None) -> dict[str, Any]:
    """Open and close a connection; return the server's certificate, as far as it was verified.

    Raises:
        OSError: there is no connection, or the certificate is refused.
    """
    async with asyncio.timeout(CONNECT_SECONDS):
        name = None if context is None else host
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
    shown = None if context is None else writer.get_extra_info("ssl_object").getpeercert()
    writer.close()
    with suppress(OSError):  # the server may have closed it already, or not close it at all
        async with asyncio.timeout(CONNECT_SECONDS):
            await writer.wait_closed()
    return dict(shown or {})


def _issuer_at(host: str, port: int) -> str:
    """Return who signed a certificate that was refused, to name the authority that is missing; empty if unknown.

    Reads the certificate and closes the connection: nothing is sent.
    """
    try:
        text = ssl.get_server_certificate((host, port), timeout=CONNECT_SECONDS)
        issuer = x509.load_pem_x509_certificate(text.encode()).issuer
    except (OSError, ValueError):
        return ""
    names = issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return in_one_line(str(names[0].value)) if names else issuer.rfc4514_string()


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_SECONDS:.0f} s"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
