"""HTTP to Airflow: connections, time-outs, proxies, TLS, and limits on answers.

The only module that imports httpx. Knows nothing of credentials, status codes or JSON.

* Only this module turns httpx's exceptions into ours.
* Redirects are not followed: they would send the token to another host.
* Streams use `Accept-Encoding: identity`: an older Airflow's gzip buffers every line until the run has ended.

Longer than most modules, because it is the only one that knows httpx.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import SimpleCookie
from importlib.metadata import version
from ipaddress import ip_address
from typing import Any, Generic, Self, TypeVar
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
from pydantic_core import to_json

from dagcall.airflow.clock import AirflowClock
from dagcall.airflow.endpoints import Requests, endpoint_of
from dagcall.airflow.tls_errors import tls_problem
from dagcall.errors import (
    AirflowAnswerTooLarge,
    AirflowAnswerUnusable,
    AirflowUnreachable,
    ConfigError,
    IssuerAway,
)

CONNECT_SECONDS = 3.0
ISSUER_SECONDS = 5.0
"""MCP clients give up if their first answer takes long."""
_T = TypeVar("_T")
Query = Mapping[str, str | float | Sequence[str]]
"""Query parameters. A sequence gives several values to one name."""
AGENT = f"dagcall/{version('dagcall')}"
_SUCCESS, _SERVER_ERROR = range(200, 300), 500


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer with any status."""

    status: int
    headers: Mapping[str, str]
    """Names are case-insensitive."""
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
        """The status phrase, e.g. `Not Found`; empty for an unknown status."""
        return HTTPStatus(self.status).phrase if self.status in set(HTTPStatus) else ""

    @property
    def is_server_error(self) -> bool:
        """5xx."""
        return self.status >= _SERVER_ERROR

    def cookie(self, name: str) -> str | None:
        """Return the value of a cookie that the answer sets; None if it does not set it."""
        for header in httpx.Headers(self.headers).get_list("set-cookie"):
            if (morsel := SimpleCookie(header).get(name)) is not None:
                return morsel.value
        return None


class Stream(Generic[_T]):
    """An answer that comes line by line, with each line parsed; its owner closes it."""

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
        """The start of an incomplete line."""
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T:
        """Wait for a line.

        Raises:
            AirflowUnreachable, AirflowAnswerTooLarge: as in `Transport.send`.
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
        if b"\n" in chunk:  # Airflow's line end; httpx would split at every Unicode line end
            *lines, self._rest = self._rest.split(b"\n")
            self._lines.extend(line for line in lines if line.strip())
        self._require_readable(len(self._rest))

    async def aclose(self) -> None:
        """Return the connection to the pool, or close it if lines are still to come."""
        await _stream(self._response).aclose()


class Transport:
    """Sends requests to one Airflow.

    What httpx's client decides for each request (proxy, redirects, cookies, authentication) is decided once here.
    Requests go directly to httpx's transport, which makes them cheaper by a third.

    Args:
        url: the address of Airflow's UI, e.g. `http://127.0.0.1:8080` or `https://example.com/airflow`.
        read_seconds: the read time-out.
        max_answer_bytes: maximum size of an answer, or of one line of a stream.
        max_idle_connections: how many connections are kept open.
        clock: gets the `Date` of answers; None for none.
        requests: counts the requests; None to count none.
        transport: replaces the network in tests; an httpx transport.
        verify: TLS verification as in httpx: True, or an `ssl.SSLContext`.

    Raises:
        ConfigError: the environment's proxy cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        read_seconds: float,
        max_answer_bytes: int,
        max_idle_connections: int = 1,
        clock: AirflowClock | None = None,
        requests: Requests | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        verify: Any = True,
    ) -> None:
        self.url = url.rstrip("/")
        self._read_seconds = read_seconds
        self._max_answer_bytes = max_answer_bytes
        self._clock = clock
        self._requests = Requests() if requests is None else requests
        self._address = httpx.URL(self.url)
        self._prefix = self._address.raw_path.rstrip(b"/")
        self._proxy = None if transport else proxy_for(url)
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
        form: Mapping[str, str] | None = None,
        is_effect_possible: bool,
    ) -> HttpAnswer:
        """Send a request and read the answer.

        Args:
            method: GET, POST or PATCH.
            path: the path below the URL, with its first slash; quoted.
            headers: additional headers.
            query: the query parameters.
            body: sent as JSON; None for none.
            form: sent as a form, instead of a body.
            is_effect_possible: whether the request changes something if it arrives.

        Raises:
            AirflowUnreachable: there was no answer, or it was incomplete.
            AirflowAnswerTooLarge: the answer exceeds the limit.
            AirflowAnswerUnusable: the URL is invalid.
        """
        with self._translated_change if is_effect_possible else self._translated:
            response = await self._sent(
                method,
                path,
                accept=("application/json", "gzip, deflate"),
                headers=headers,
                read_seconds=self._read_seconds,
                query=query,
                content=_content_of(body, form),
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
    ) -> HttpAnswer | Stream[_T]:
        """Request an answer that comes line by line. An error status is returned as a plain answer.

        Args:
            path: the path below the URL, with its first slash.
            headers: additional headers.
            query: the query parameters.
            silence_seconds: the read time-out between lines.
            read: parses a line.

        Raises:
            AirflowUnreachable, AirflowAnswerTooLarge: as in `send`.
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
        content: tuple[str, bytes] | None = None,
    ) -> httpx.Response:
        seconds = {"connect": CONNECT_SECONDS, "read": read_seconds, "write": read_seconds, "pool": None}
        target = path if query is None else f"{path}?{httpx.QueryParams(query)}"
        extensions: dict[str, Any] = {"timeout": seconds}
        url: httpx.URL | str = self._address
        if self._proxy is None:  # parsing each URL would be a tenth of a call's CPU
            extensions["target"] = self._prefix + target.encode()
        else:  # a proxy needs the whole URL
            url = f"{self.url}{target}"
        accepted, encoding = accept
        own = {"User-Agent": AGENT, "Accept": accepted, "Accept-Encoding": encoding}
        request = httpx.Request(
            method,
            url,
            headers={**own, **headers, **({} if content is None else {"Content-Type": content[0]})},
            content=None if content is None else content[1],
            extensions=extensions,
        )
        sent_at = asyncio.get_running_loop().time()
        try:
            response = await self._http.handle_async_request(request)
        except BaseException as error:
            self._requests[method, endpoint_of(path), _missing(error)] += 1
            raise
        self._requests[method, endpoint_of(path), str(response.status_code)] += 1
        if self._clock is not None and response.is_success and (date := response.headers.get("date")):
            self._clock.hear(date, sent_at=sent_at)
        return response

    async def _content(self, response: httpx.Response) -> bytes:
        """Return an answer's content, or slightly more than the limit: no answer can fill the memory."""
        content = bytearray()
        try:
            async for chunk in _chunks(response):
                content += chunk
                if len(content) > self._max_answer_bytes:
                    break
        finally:
            await _stream(response).aclose()
        return bytes(content)

    def _answer(self, response: httpx.Response, content: bytes, path: str) -> HttpAnswer:
        self._require_readable(len(content), path)
        return HttpAnswer(response.status_code, response.headers, content)

    def _require_readable(self, size: int, path: str) -> None:
        if size > self._max_answer_bytes:
            raise AirflowAnswerTooLarge(
                f"Airflow at {self.url} answered {path} with more than the "
                f"{self._max_answer_bytes:,} bytes that dagcall reads (airflow.max_answer_bytes)"
            )


class IssuerHttp:
    """Sends requests to the authorization server of the callers; not through Airflow's gate.

    Args:
        verify: TLS verification as in httpx.
        client: dagcall's client id and secret; None for public endpoints.
        transport: replaces the network in tests.
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
        """Return a public JSON object.

        Raises:
            IssuerAway: there was no usable answer.
        """
        return await self._json("GET", url)

    async def post(self, url: str, form: Mapping[str, str]) -> dict[str, Any]:
        """Send a form with dagcall's client id and secret; otherwise as `get`."""
        return await self._json("POST", url, data=form, auth=self._auth)

    async def _json(self, method: str, url: str, **request: Any) -> dict[str, Any]:
        try:
            response = await self._http.request(method, url, **request)
            content = response.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise IssuerAway(f"{url} gave no JSON ({tls_problem(error, 'auth') or _reason(error)})") from error
        if response.status_code != httpx.codes.OK or not isinstance(content, dict):
            raise IssuerAway(f"{url} answered with status {response.status_code}, or with no JSON object")
        return content


class _Translated:
    """Turns the transport's exceptions into ours."""

    def __init__(self, url: str, *, is_effect_possible: bool) -> None:
        self._url = url
        self._is_effect_possible = is_effect_possible

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            return
        reason = tls_problem(error, "airflow") or _reason(error)
        match error:
            case httpx.ConnectError() | httpx.ConnectTimeout():
                raise AirflowUnreachable(
                    f"Airflow at {self._url} cannot be reached ({reason})",
                    is_effect_possible=False,
                    is_late=isinstance(error, httpx.TimeoutException),
                ) from error
            case httpx.TimeoutException():
                raise AirflowUnreachable(
                    f"Airflow at {self._url} did not answer in time",
                    is_effect_possible=self._is_effect_possible,
                    is_late=True,
                ) from error
            # With TLS 1.3, the server refuses a client's certificate after the handshake; httpx passes this error on.
            case httpx.TransportError() | httpx.StreamError() | httpx.DecodingError() | ssl.SSLError():
                raise AirflowUnreachable(
                    f"the connection to Airflow at {self._url} broke ({reason})",
                    is_effect_possible=self._is_effect_possible,
                ) from error
            case httpx.InvalidURL():
                raise AirflowAnswerUnusable(f"{self._url} is not a URL that can be asked: {error}") from error


def _missing(error: BaseException) -> str:
    """Return why there is no answer, in a word."""
    match error:
        case httpx.TimeoutException():
            return "timeout"
        case asyncio.CancelledError():
            return "cancelled"
        case _:
            return "unreachable"


def _content_of(body: Any, form: Mapping[str, str] | None) -> tuple[str, bytes] | None:
    """Return the type and bytes of a request's content; None for a request without content."""
    if form is not None:
        return "application/x-www-form-urlencoded", urlencode(form).encode()
    return None if body is None else ("application/json", to_json(body))


def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """Return the content as it comes; without an encoding, bypass httpx's decoders and their two loops."""
    if any(name.lower() == b"content-encoding" for name, _ in response.headers.raw):
        return response.aiter_bytes()
    return aiter(_stream(response))


def _stream(response: httpx.Response) -> httpx.AsyncByteStream:
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - only sync transports return another
    return response.stream


def _connections(url: str, proxy: str | None, max_idle_connections: int, verify: Any) -> httpx.AsyncBaseTransport:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=max_idle_connections)
    try:
        return httpx.AsyncHTTPTransport(verify=verify, proxy=proxy, limits=limits)
    except (ValueError, ImportError) as error:  # a scheme that httpx does not support, or only with another package
        if proxy is None:
            raise
        raise ConfigError(f"the environment's proxy for {url} cannot be used: {error}") from error


def proxy_for(url: str) -> str | None:
    """Return the environment's proxy for a URL; none for an Airflow on this machine."""
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
