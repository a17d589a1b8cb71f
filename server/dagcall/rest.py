"""One request to Airflow: credentials, the gate, retries, and every way in which it can fail.

The only module that imports httpx. Knows status codes and JSON, not what a dag is.

What it takes care of, so that nobody else has to (measured on Airflow 3.1.8, 3.2.2 and 3.3.2):

* 401 and 403 "Invalid JWT token" both mean "log in again", once.
* No redirect is followed: it would carry the token to another host.
* `Accept-Encoding: identity` on streams: an older Airflow's gzip holds every line back until the run has ended.
* httpx's exceptions become ours here and nowhere else.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import stamina

from dagcall.credentials import Credentials
from dagcall.errors import (
    AirflowAnswerTooLarge,
    AirflowAnswerUnusable,
    AirflowAway,
    AirflowConflict,
    AirflowNotFound,
    AirflowRefused,
    AirflowRejected,
    AirflowUnreachable,
    IssuerAway,
)
from dagcall.gate import MAX_ANSWER_BYTES, Gate, Purpose

CONNECT_SECONDS = 3.0
READ_SECONDS = 15.0
"""An Airflow at rest answers within 40 ms; one that is starved of database connections takes 30 s to say 500."""
READ_ATTEMPTS = 3
ISSUER_SECONDS = 5.0
"""An MCP client that waits for its first answer for long gives up."""
MAX_RETRY_AFTER_SECONDS = 60.0

_T = TypeVar("_T")
PARSE_ERRORS = (KeyError, TypeError, ValueError, AttributeError)


class AirflowRest:
    """Sends requests to `<url>/api/v2/…`.

    Args:
        url: where Airflow's UI is, e.g. `http://127.0.0.1:8080` or `https://example.com/airflow`.
        credentials: what to send as a bearer token.
        gate: what every request passes.
        max_answer_bytes: how much of an answer is read.
        transport: in place of the network, for tests.
        verify: TLS verification, as httpx takes it: True, or an `ssl.SSLContext`.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        gate: Gate,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        transport: httpx.AsyncBaseTransport | None = None,
        verify: Any = True,
    ) -> None:
        self._max_answer_bytes = max_answer_bytes
        self.url = url.rstrip("/")
        self.gate = gate
        self._credentials = credentials
        self._http = httpx.AsyncClient(
            base_url=f"{self.url}/api/v2/",
            transport=transport,
            verify=verify,
            follow_redirects=False,
            trust_env=_may_need_proxy(url),
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=gate.ceiling),
            headers={"Accept": "application/json"},
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(
        self,
        path: str,
        *,
        purpose: Purpose,
        query: Mapping[str, Any] | None = None,
        is_anonymous: bool = False,
        parse: Callable[[str], Any] = json.loads,
        attempts: int = READ_ATTEMPTS,
    ) -> Any:
        """Ask a question that changes nothing, and ask again where there was no answer.

        Whoever asks within a loop of its own says `attempts=1`: a retry inside a retry multiplies.

        Raises:
            AirflowError: as the module says; `AirflowUnreachable` only after that many tries.
        """
        return await self._retried(
            attempts, "GET", path, purpose=purpose, query=query, is_anonymous=is_anonymous, parse=parse
        )

    async def ask(self, path: str, *, purpose: Purpose, body: Mapping[str, Any], attempts: int = READ_ATTEMPTS) -> Any:
        """Ask a question that is too long for a URL: a POST that changes nothing. As `get`."""
        return await self._retried(attempts, "POST", path, purpose=purpose, body=body, is_question=True)

    async def change(
        self,
        method: str,
        path: str,
        *,
        purpose: Purpose,
        body: Mapping[str, Any],
        who: str = "",
        credentials: Credentials | None = None,
    ) -> Any:
        """Send a request that changes something, once: whoever sends it knows what a lost answer means.

        Args:
            method: POST or PATCH.
            path: below `/api/v2/`.
            purpose: what for.
            body: as JSON.
            who: on whose behalf; each gets its turn.
            credentials: in place of dagcall's own.
        """
        self.gate.retries.request()
        return await self._request(method, path, purpose=purpose, body=body, who=who, credentials=credentials)

    async def _retried(self, attempts: int, method: str, path: str, **request: Any) -> Any:
        self.gate.retries.request()
        async for attempt in stamina.retry_context(
            on=self.may_retry, attempts=attempts, wait_initial=0.1, wait_max=2.0, timeout=None
        ):
            with attempt:
                return await self._request(method, path, **request)
        raise AssertionError  # pragma: no cover - retry_context ends by returning or raising

    def may_retry(self, error: Exception) -> bool | float:
        """Say whether the budget has a retry for this error: yes, no, or yes in so many seconds, as Airflow asked."""
        if not isinstance(error, AirflowUnreachable) or isinstance(error, AirflowAway) or not self.gate.retries.take():
            return False
        return True if error.retry_after_seconds is None else error.retry_after_seconds

    @asynccontextmanager
    async def stream_lines(
        self, path: str, *, query: Mapping[str, Any], silence_seconds: float
    ) -> AsyncIterator[AsyncIterator[str]]:
        """Read an answer line by line as it comes. The caller holds a place in the gate (`Purpose.STREAM`).

        Args:
            path: below `/api/v2/`.
            query: as everywhere.
            silence_seconds: how long no line at all is still normal.
        """
        request = self._http.build_request(
            "GET",
            path,
            params=query,
            headers={
                "Accept-Encoding": "identity",
                "Accept": "application/x-ndjson",
                **await _authorization(self._credentials),
            },
            timeout=httpx.Timeout(silence_seconds, connect=CONNECT_SECONDS, pool=None),
        )
        response = await self._sent(request, is_effect_possible=False, is_stream=True)
        try:
            if not response.is_success:
                with _translated(self.url, is_effect_possible=False):
                    await response.aread()
                self._require_ok(response, path, is_effect_possible=False)
            yield self._lines(response)
        finally:
            await response.aclose()

    async def _lines(self, response: httpx.Response) -> AsyncIterator[str]:
        with _translated(self.url, is_effect_possible=False):
            line = bytearray()
            async for chunk in response.aiter_bytes():
                # Only where Airflow ends a line: httpx's own lines end at every line end that Unicode knows.
                *ends, rest = chunk.split(b"\n")
                for end in ends:
                    if (line + end).strip():
                        yield (line + end).decode(errors="replace")
                    line.clear()
                line += rest
                self._require_readable(len(line), response)
            if line.strip():
                yield line.decode(errors="replace")

    def parsed(self, parse: Callable[[Any], _T], data: Any, path: str) -> _T:
        """Read an answer.

        Raises:
            AirflowAnswerUnusable: it is not of the form that Airflow sends.
        """
        try:
            return parse(data)
        except (*PARSE_ERRORS, RecursionError) as error:
            raise AirflowAnswerUnusable(
                f"{self.url} answered /api/v2/{path} with something that Airflow 3.1 to 3.3 does not send "
                f"({type(error).__name__}: {str(error)[:100]}); check the URL and what is in front of Airflow"
            ) from error

    async def _request(
        self,
        method: str,
        path: str,
        *,
        purpose: Purpose,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        is_anonymous: bool = False,
        is_question: bool = False,
        who: str = "",
        parse: Callable[[str], Any] = json.loads,
        credentials: Credentials | None = None,
    ) -> Any:
        """Send one request through the gate, logging in again once if Airflow no longer takes the token."""
        credentials = credentials or self._credentials
        headers = {} if is_anonymous else await _authorization(credentials)
        request = self._http.build_request(method, path, params=query, json=body)
        request.headers.update(headers)
        is_effect_possible = method != "GET" and not is_question
        response = await self._send(request, purpose, who, is_effect_possible=is_effect_possible)
        if _says_log_in_again(response) and credentials.can_renew_after(_token_in(headers)):
            renewed = await _authorization(credentials)
            if renewed != headers:
                request.headers.update(renewed)
                response = await self._send(request, purpose, who, is_effect_possible=is_effect_possible)
        self._require_ok(response, path, is_effect_possible=is_effect_possible)
        return self.parsed(parse, response.text, path)

    async def _send(
        self, request: httpx.Request, purpose: Purpose, who: str, *, is_effect_possible: bool
    ) -> httpx.Response:
        async with self.gate.place(purpose, who=who):
            return await self._sent(request, is_effect_possible=is_effect_possible)

    async def _sent(
        self, request: httpx.Request, *, is_effect_possible: bool, is_stream: bool = False
    ) -> httpx.Response:
        """Send a request and tell the gate how Airflow took it."""
        with _reported(self.gate), _translated(self.url, is_effect_possible=is_effect_possible):
            response = await self._http.send(request, stream=True)
            content = None if is_stream else await self._content(response)
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
            self.gate.failed(is_overload=True)
        else:
            self.gate.answered()
        if is_stream:
            return response
        self._require_readable(len(content or b""), response)
        by_hop = {"content-encoding", "content-length", "transfer-encoding"}
        headers = [(name, value) for name, value in response.headers.items() if name not in by_hop]
        return httpx.Response(response.status_code, headers=headers, content=content, request=request)

    async def _content(self, response: httpx.Response) -> bytes:
        """Return an answer's content, or a little more than may be read of it: no answer fills the memory."""
        content = bytearray()
        try:
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > self._max_answer_bytes:
                    break
        finally:
            await response.aclose()
        return bytes(content)

    def _require_readable(self, size: int, response: httpx.Response) -> None:
        if size > self._max_answer_bytes:
            raise AirflowAnswerTooLarge(
                f"Airflow at {self.url} answered {response.request.url.path} with more than the "
                f"{self._max_answer_bytes:,} bytes that dagcall reads (airflow.max_answer_bytes)"
            )

    def _require_ok(self, response: httpx.Response, path: str, *, is_effect_possible: bool) -> None:
        """Turn a status that is no success into the error that it means."""
        status = response.status_code
        if response.is_success:
            return
        detail = _detail(response)
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise AirflowRefused(
                f"Airflow at {self.url} refused /api/v2/{path} ({status}: {detail}); "
                + (
                    "check the credentials in dagcall's settings"
                    if status == httpx.codes.UNAUTHORIZED or "JWT" in detail
                    else "the account that dagcall uses may not do this"
                )
            )
        if status == httpx.codes.NOT_FOUND:
            raise AirflowNotFound(f"Airflow at {self.url} has no {path} ({detail})")
        if status == httpx.codes.CONFLICT:
            raise AirflowConflict(f"Airflow at {self.url} says that {path} exists already")
        if status in {httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY}:
            raise AirflowRejected(f"Airflow refused {path}: {detail}", reason=detail)
        if status == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
            raise AirflowUnreachable(
                f"Airflow at {self.url} cannot answer now ({status}); try again in a moment",
                is_effect_possible=is_effect_possible and status != httpx.codes.TOO_MANY_REQUESTS,
                retry_after_seconds=_retry_after(response),
            )
        raise AirflowAnswerUnusable(
            f"{self.url} answered {path} with status {status}, which Airflow never does there; check the URL"
            + (f" (it points to {response.headers['location']})" if "location" in response.headers else "")
        )


async def log_in(
    url: str, username: str, password: str, *, gate: Gate, transport: Any = None, verify: Any = True
) -> str:
    """Get a token from `POST /auth/token` (the Simple and FAB auth managers), through the gate like everything else.

    Raises:
        AirflowRefused: wrong user name or password, or this Airflow has no password log-in.
        AirflowUnreachable: no answer.
    """
    async with (
        gate.place(Purpose.RESULT),
        httpx.AsyncClient(
            transport=transport, verify=verify, follow_redirects=False, trust_env=_may_need_proxy(url), timeout=30
        ) as http,
    ):
        with _reported(gate), _translated(url, is_effect_possible=False):
            response = await http.post(
                f"{url.rstrip('/')}/auth/token", json={"username": username, "password": password}
            )
    if response.is_server_error:
        raise AirflowUnreachable(
            f"Airflow at {url} cannot log anybody in now ({response.status_code})", is_effect_possible=False
        )
    try:
        return str(response.json()["access_token"])
    except (*PARSE_ERRORS, json.JSONDecodeError) as error:
        reason = {401: "wrong user name or password", 404: "it has no /auth/token; check the URL"}.get(
            response.status_code, f"status {response.status_code}"
        )
        raise AirflowRefused(f"Airflow at {url} did not log in user {username!r}: {reason}") from error


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


@contextmanager
def _reported(gate: Gate) -> Iterator[None]:
    """Tell the gate where there is no answer."""
    try:
        yield
    except AirflowUnreachable as error:
        gate.failed(is_overload=isinstance(error.__cause__, httpx.TimeoutException))
        raise


class _translated:  # noqa: N801 - reads as a statement: `with _translated(…)`
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
                    f"Airflow at {self._url} cannot be reached ({_reason(error)})", is_effect_possible=False
                ) from error
            case httpx.TimeoutException():
                raise AirflowUnreachable(
                    f"Airflow at {self._url} did not answer in time", is_effect_possible=self._is_effect_possible
                ) from error
            case httpx.TransportError() | httpx.StreamError() | httpx.DecodingError():
                raise AirflowUnreachable(
                    f"the connection to Airflow at {self._url} broke ({_reason(error)})",
                    is_effect_possible=self._is_effect_possible,
                ) from error
            case httpx.InvalidURL():
                raise AirflowAnswerUnusable(f"{self._url} is not a URL that can be asked: {error}") from error


def _may_need_proxy(url: str) -> bool:
    """Say whether the environment's proxies and netrc count: an Airflow on this machine is behind none."""
    host = urlsplit(url).hostname or ""
    try:
        return host != "localhost" and not ip_address(host).is_loopback
    except ValueError:
        return True


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds that a Retry-After header names; one with a date is left to our own back-off."""
    text = response.headers.get("retry-after", "")
    return min(float(text), MAX_RETRY_AFTER_SECONDS) if text.isdecimal() else None


def _says_log_in_again(response: httpx.Response) -> bool:
    return response.status_code == httpx.codes.UNAUTHORIZED or (
        response.status_code == httpx.codes.FORBIDDEN and "Invalid JWT token" in response.text
    )


async def _authorization(credentials: Credentials) -> dict[str, str]:
    token = await credentials.token()
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _token_in(headers: Mapping[str, str]) -> str | None:
    return headers.get("Authorization", "").removeprefix("Bearer ") or None


def _detail(response: httpx.Response) -> str:
    """Return the first line of Airflow's own reason, without HTML and of a length that fits a sentence."""
    try:
        detail = response.json()["detail"]
    except PARSE_ERRORS:
        return response.reason_phrase or "no reason given"
    if isinstance(detail, list):  # FastAPI's 422: [{"loc": ["body", "conf"], "msg": "…"}]
        detail = "; ".join(f"{'.'.join(map(str, item.get('loc', ())))}: {item.get('msg', '')}" for item in detail)
    elif isinstance(detail, dict):
        detail = detail.get("reason", "")
    lines = str(detail).strip().splitlines()
    return lines[0][:300] if lines else "no reason given"
