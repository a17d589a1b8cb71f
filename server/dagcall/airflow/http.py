"""Bytes to Airflow and back: connections, time-outs, proxies, TLS, and answers that never come or never end.

The only module that imports httpx. Knows nothing of credentials, status codes or JSON.

* httpx's exceptions become ours here and nowhere else.
* No redirect is followed: it would carry the token to another host.
* `Accept-Encoding: identity` on streams: an older Airflow's gzip holds every line back until the run has ended.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from importlib.metadata import version
from ipaddress import ip_address
from typing import Any, Generic, Self, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
from pydantic_core import to_json

from dagcall.airflow.clock import AirflowClock
from dagcall.errors import (
    AirflowAnswerTooLarge,
    AirflowAnswerUnusable,
    AirflowUnreachable,
    ConfigError,
    IssuerAway,
)

CONNECT_SECONDS = 3.0
ISSUER_SECONDS = 5.0
"""An MCP client that waits for its first answer for long gives up."""
_T = TypeVar("_T")
Query = Mapping[str, str | float | tuple[str, ...]]
"""What is asked of a path, by name. Several values of one name are a tuple: what URLs say of queries is kept."""
AGENT = f"dagcall/{version('dagcall')}"
_SUCCESS, _SERVER_ERROR = range(200, 300), 500


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whatever it says."""

    status: int
    headers: Mapping[str, str]
    """Names are compared without regard to case."""
    content: bytes

    @property
    def text(self) -> str:
        """The content; Airflow sends UTF-8."""
        return self.content.decode(errors="replace")

    @property
    def is_success(self) -> bool:
        """2xx."""
        return self.status in _SUCCESS

    @property
    def reason(self) -> str:
        """What the status is called, e.g. `Not Found`; empty for one that HTTP does not know."""
        return HTTPStatus(self.status).phrase if self.status in set(HTTPStatus) else ""

    @property
    def is_server_error(self) -> bool:
        """5xx."""
        return self.status >= _SERVER_ERROR


class Stream(Generic[_T]):
    """An answer that comes line by line, each line read; whoever has it closes it."""

    def __init__(
        self,
        response: httpx.Response,
        *,
        read: Callable[[str], _T],
        translated: AbstractContextManager[None],
        require_readable: Callable[[int], None],
    ) -> None:
        self._response = response
        self._chunks = _chunks(response)
        self._read = read
        self._translated = translated
        self._require_readable = require_readable
        self._lines: deque[bytearray] = deque()
        self._rest = bytearray()
        """The beginning of a line whose end is still to come."""
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T:
        """Wait for a line.

        Raises:
            AirflowUnreachable, AirflowAnswerTooLarge: as of `Transport.send`.
        """
        while not self._lines:
            if self._is_over:
                raise StopAsyncIteration
            await self._read_on()
        return self._read(self._lines.popleft().decode(errors="replace"))

    async def _read_on(self) -> None:
        with self._translated:
            chunk = await anext(self._chunks, None)
        self._is_over = chunk is None
        chunk = b"\n" if chunk is None else chunk
        self._rest += chunk
        if b"\n" in chunk:  # only where Airflow ends a line: httpx's own lines end at every line end of Unicode
            *lines, self._rest = self._rest.split(b"\n")
            self._lines.extend(line for line in lines if line.strip())
        self._require_readable(len(self._rest))

    async def aclose(self) -> None:
        """Give the connection back, or close it where lines are still to come."""
        await _stream(self._response).aclose()


class Transport:
    """Sends requests to one Airflow.

    What httpx's client decides anew for each request (proxy, redirects, cookies, authentication) is decided once here:
    requests go straight to httpx's transport, which takes a third off what one costs.

    Args:
        url: where Airflow's UI is, e.g. `http://127.0.0.1:8080` or `https://example.com/airflow`.
        read_seconds: how long nothing at all may come.
        max_answer_bytes: how much of an answer, or of one line of a stream, is read.
        max_idle_connections: how many are kept open.
        clock: told when Airflow answered; None where nobody wants to know.
        transport: in place of the network, for tests; as httpx takes it.
        verify: TLS verification, as httpx takes it: True, or an `ssl.SSLContext`.

    Raises:
        ConfigError: the environment names a proxy that cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        read_seconds: float,
        max_answer_bytes: int,
        max_idle_connections: int = 1,
        clock: AirflowClock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        verify: Any = True,
    ) -> None:
        self.url = url.rstrip("/")
        self._read_seconds = read_seconds
        self._max_answer_bytes = max_answer_bytes
        self._clock = clock
        self._proxy = None if transport else _proxy(url)
        self._http = transport or _connections(url, self._proxy, max_idle_connections, verify)
        self._translated = _Translated(self.url, is_effect_possible=False)
        self._translated_change = _Translated(self.url, is_effect_possible=True)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        query: Query | None = None,
        body: Any = None,
        is_effect_possible: bool,
    ) -> Answer:
        """Send a request and read the answer.

        Args:
            method: GET, POST or PATCH.
            path: below the URL, with its first slash; as it stands in a request, so quoted.
            headers: beside those that every request has.
            query: what stands behind the path.
            body: to be sent as JSON; None for none.
            is_effect_possible: whether the request changes something where it arrives.

        Raises:
            AirflowUnreachable: there was none, or it broke off.
            AirflowAnswerTooLarge: it is longer than what is read.
            AirflowAnswerUnusable: the URL is none.
        """
        with self._translated_change if is_effect_possible else self._translated:
            response = await self._sent(
                method,
                path,
                accept=("application/json", "gzip, deflate"),
                headers=headers,
                read_seconds=self._read_seconds,
                query=query,
                body=body,
            )
            content = await self._content(response)
        return self._answer(response, content, path)

    async def stream(
        self,
        path: str,
        *,
        headers: Mapping[str, str],
        query: Query,
        silence_seconds: float,
        read: Callable[[str], _T],
    ) -> Answer | Stream[_T]:
        """Ask for an answer that comes line by line. Where it is no success, it is one like any other.

        Args:
            path: below the URL, with its first slash.
            headers: beside those that every request has.
            query: likewise.
            silence_seconds: how long no line at all is still normal.
            read: what becomes of a line.

        Raises:
            AirflowUnreachable, AirflowAnswerTooLarge: as of `send`.
        """
        accept = "application/x-ndjson", "identity"
        with self._translated:
            response = await self._sent(
                "GET", path, accept=accept, headers=headers, read_seconds=silence_seconds, query=query
            )
            if response.is_success:
                return Stream(
                    response,
                    read=read,
                    translated=self._translated,
                    require_readable=lambda size: self._require_readable(size, path),
                )
            content = await self._content(response)
        return self._answer(response, content, path)

    async def _sent(
        self,
        method: str,
        path: str,
        *,
        accept: tuple[str, str],
        headers: Mapping[str, str],
        read_seconds: float,
        query: Query | None,
        body: Any = None,
    ) -> httpx.Response:
        seconds = {"connect": CONNECT_SECONDS, "read": read_seconds, "write": read_seconds, "pool": None}
        target = path if query is None else f"{path}?{_encoded(tuple(query.items()))}"
        url, host, prefix = _address(self.url)
        extensions: dict[str, Any] = {"timeout": seconds}
        if self._proxy is None:  # parsing each URL is 4 % of what a call takes
            extensions["target"] = prefix + target.encode()
        else:  # which would be told this target and not whose it is
            url = httpx.URL(f"{self.url}{target}")
        content = b""
        if body is not None:
            content = to_json(body)
        request = httpx.Request(
            method,
            url,
            headers=_headers(host, accept, tuple(headers.items()), None if body is None else len(content)),
            stream=httpx.ByteStream(content),  # with `json` httpx would find out anew what is known here
            extensions=extensions,
        )
        if self._clock is None:
            return await self._http.handle_async_request(request)
        sent_at = asyncio.get_running_loop().time()
        response = await self._http.handle_async_request(request)
        if response.is_success and (date := response.headers.get("date")):
            self._clock.hear(date, sent_at=sent_at)
        return response

    async def _content(self, response: httpx.Response) -> bytes:
        """Return an answer's content, or a little more than may be read of it: no answer fills the memory."""
        content = bytearray()
        try:
            async for chunk in _chunks(response):
                content += chunk
                if len(content) > self._max_answer_bytes:
                    break
        finally:
            await _stream(response).aclose()
        return bytes(content)

    def _answer(self, response: httpx.Response, content: bytes, path: str) -> Answer:
        self._require_readable(len(content), path)
        return Answer(response.status_code, response.headers, content)

    def _require_readable(self, size: int, path: str) -> None:
        if size > self._max_answer_bytes:
            raise AirflowAnswerTooLarge(
                f"Airflow at {self.url} answered {path} with more than the "
                f"{self._max_answer_bytes:,} bytes that dagcall reads (airflow.max_answer_bytes)"
            )


class IssuerHttp:
    """Asks the authorization server that vouches for callers: not Airflow, so not through Airflow's gate.

    Args:
        verify: TLS verification, as httpx takes it.
        client: id and secret that the authorization server knows dagcall by; None for questions that anybody may ask.
        transport: in place of the network, for tests.
    """

    def __init__(
        self,
        *,
        verify: Any = True,
        client: tuple[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._auth = None if client is None else httpx.BasicAuth(*client)
        self._http = httpx.AsyncClient(
            verify=verify,
            transport=transport,
            follow_redirects=False,
            timeout=ISSUER_SECONDS,
            headers={"Accept": "application/json"},
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, url: str) -> dict[str, Any]:
        """Return a JSON object that is published for everybody.

        Raises:
            IssuerAway: there was no such answer.
        """
        return await self._json("GET", url)

    async def post(self, url: str, form: Mapping[str, str]) -> dict[str, Any]:
        """Ask as a client that the server knows. As `get`."""
        return await self._json("POST", url, data=form, auth=self._auth)

    async def _json(self, method: str, url: str, **request: Any) -> dict[str, Any]:
        try:
            response = await self._http.request(method, url, **request)
            content = response.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise IssuerAway(f"{url} gave no JSON ({_reason(error)})") from error
        if response.status_code != httpx.codes.OK or not isinstance(content, dict):
            raise IssuerAway(f"{url} answered with status {response.status_code}, or with no JSON object")
        return content


class _Translated:
    """Turns what the transport raises into ours, once, here."""

    def __init__(self, url: str, *, is_effect_possible: bool) -> None:
        self._url = url
        self._is_effect_possible = is_effect_possible

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        match error:
            case httpx.ConnectError() | httpx.ConnectTimeout():
                raise AirflowUnreachable(
                    f"Airflow at {self._url} cannot be reached ({_reason(error)})",
                    is_effect_possible=False,
                    is_late=isinstance(error, httpx.TimeoutException),
                ) from error
            case httpx.TimeoutException():
                raise AirflowUnreachable(
                    f"Airflow at {self._url} did not answer in time",
                    is_effect_possible=self._is_effect_possible,
                    is_late=True,
                ) from error
            case httpx.TransportError() | httpx.StreamError() | httpx.DecodingError():
                raise AirflowUnreachable(
                    f"the connection to Airflow at {self._url} broke ({_reason(error)})",
                    is_effect_possible=self._is_effect_possible,
                ) from error
            case httpx.InvalidURL():
                raise AirflowAnswerUnusable(f"{self._url} is not a URL that can be asked: {error}") from error


def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """Return the content as it comes; what nobody encoded needs none of httpx's decoders, nor the two loops around."""
    if any(name.lower() == b"content-encoding" for name, _ in response.headers.raw):
        return response.aiter_bytes()
    return aiter(_stream(response))


def _stream(response: httpx.Response) -> httpx.AsyncByteStream:
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - a transport that is not async gives another
    return response.stream


@lru_cache(maxsize=1024)
def _encoded(query: tuple[tuple[str, str | float | tuple[str, ...]], ...]) -> str:
    """Return a query as it stands in a URL, made once for all that are alike: it is a fiftieth of what a call takes."""
    return str(httpx.QueryParams(dict(query)))


@lru_cache(maxsize=1024)
def _headers(
    host: str, accept: tuple[str, str], more: tuple[tuple[str, str], ...], content_length: int | None
) -> httpx.Headers:
    """Return the headers of a request, made once for all that are alike: httpx takes its time to look at each."""
    content_type, encoding = accept
    headers = {"Host": host, "User-Agent": AGENT, "Accept": content_type, "Accept-Encoding": encoding, **dict(more)}
    if content_length is not None:
        headers |= {"Content-Type": "application/json", "Content-Length": str(content_length)}
    return httpx.Headers(headers)


@lru_cache
def _address(url: str) -> tuple[httpx.URL, str, bytes]:
    """Return a URL, what its Host header says, and what each path that is asked for begins with."""
    parsed = httpx.URL(url)
    return parsed, parsed.netloc.decode(), parsed.raw_path.rstrip(b"/")


def _connections(url: str, proxy: str | None, max_idle_connections: int, verify: Any) -> httpx.AsyncBaseTransport:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=max_idle_connections)
    try:
        return httpx.AsyncHTTPTransport(verify=verify, proxy=proxy, limits=limits)
    except (ValueError, ImportError) as error:  # a scheme that httpx does not know, or needs another package for
        if proxy is None:
            raise
        raise ConfigError(f"the environment's proxy for {url} cannot be used: {error}") from error


def _proxy(url: str) -> str | None:
    """Return the environment's proxy for a URL; an Airflow on this machine is behind none."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host == "localhost" or _is_loopback(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
