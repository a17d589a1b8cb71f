"""One request to Airflow: credentials, the gate, retries, and the meaning of each status.

Knows status codes and JSON, but not dags; `http` sends the bytes.

401 and 403 "Invalid JWT token" both mean "log in again", once (measured on Airflow 3.1.8, 3.2.2 and 3.3.2).
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar

from cachetools import TTLCache

from dagcall.airflow.answers import (
    PARSE_ERRORS,
    page_title,
    pointing_to,
    reason_in,
    refuses_token,
    retry_after_seconds,
    says_later,
    says_log_in_again,
    shows_nothing,
)
from dagcall.airflow.clock import AirflowClock
from dagcall.airflow.credentials import Credentials
from dagcall.airflow.endpoints import kind_of
from dagcall.airflow.gate import MAX_ANSWER_BYTES, Gate, Purpose
from dagcall.airflow.http import HttpAnswer, Query, Stream, Transport
from dagcall.airflow.outcomes import Reported, report
from dagcall.airflow.probing import PROBE_SECONDS, Prober
from dagcall.airflow.retry_policy import is_unreachable, retry
from dagcall.errors import (
    AirflowAnswerTooLarge,
    AirflowAnswerUnusable,
    AirflowConflict,
    AirflowError,
    AirflowLogInRefused,
    AirflowNotFound,
    AirflowRefused,
    AirflowRejected,
    AirflowUnreachable,
    CircuitOpen,
)

READ_SECONDS = 15.0
"""An idle Airflow answers within 40 ms; one without free database connections takes 30 s to return a 500."""
READ_ATTEMPTS = 3
API = "/api/v2/"
BELIEVED_SECONDS, MAX_BELIEVED = 60.0, 1000
"""How long, and of how many requests, an answer that shows nothing is believed without a new log-in."""

_T = TypeVar("_T")
_REFUSALS = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}
"""The statuses for which Airflow gives a reason."""


class AirflowRest:
    """Sends requests to `<url>/api/v2/…`.

    Args:
        url: the address of Airflow's UI, e.g. `http://127.0.0.1:8080` or `https://example.com/airflow`.
        credentials: the bearer token.
        gate: the gate that every request passes.
        max_answer_bytes: maximum size of an answer.
        clock: gets the `Date` of every answer; None for a new one.
        network: `transport`, `verify` and `requests` for `Transport`.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        gate: Gate,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        clock: AirflowClock | None = None,
        **network: Any,
    ) -> None:
        self.url = url.rstrip("/")
        self.gate = gate
        self.clock = clock or airflow_clock()
        self._reported = Reported(gate)
        self.credentials = credentials
        self._believed: TTLCache[str, bool] = TTLCache(MAX_BELIEVED, BELIEVED_SECONDS)
        """The requests whose answers showed nothing."""
        self._http = Transport(
            url,
            read_seconds=READ_SECONDS,
            max_answer_bytes=max_answer_bytes,
            max_idle_connections=gate.ceiling,
            clock=self.clock,
            **network,
        )
        self._probes = Transport(url, read_seconds=PROBE_SECONDS, max_answer_bytes=MAX_ANSWER_BYTES, **network)
        self._prober = Prober(gate, self._probe)
        gate.on_open = self._prober.begin

    async def aclose(self) -> None:
        """Close the connections."""
        await self._prober.aclose()
        await self._probes.aclose()
        await self._http.aclose()

    async def _probe(self, path: str) -> HttpAnswer:
        return await self._probes.send("GET", f"{API}{path}", headers={}, is_effect_possible=False)

    async def get(
        self,
        path: str,
        *,
        purpose: Purpose,
        read: Callable[[Any], _T],
        query: Query | None = None,
        is_anonymous: bool = False,
        decode: Callable[[str], Any] = json.loads,
        attempts: int = READ_ATTEMPTS,
    ) -> _T:
        """Send a read-only request, and retry it if there was no answer or an unusable one.

        Callers with their own retry loop pass `attempts=1`: nested retries multiply.

        Args:
            path: the path below `/api/v2/`.
            purpose: the purpose of the request.
            read: parses the decoded answer.
            query: the query parameters.
            is_anonymous: whether to send no token.
            decode: decodes the text for `read`.
            attempts: maximum attempts.

        Raises:
            AirflowError: as the module says; `AirflowUnreachable` and `AirflowAnswerUnusable` only after all attempts.
        """
        return await self._retried(
            attempts, "GET", path, purpose=purpose, read=read, decode=decode, query=query, is_anonymous=is_anonymous
        )

    async def ask(
        self,
        path: str,
        *,
        purpose: Purpose,
        body: Mapping[str, Any],
        read: Callable[[Any], _T],
        decode: Callable[[str], Any] = json.loads,
        attempts: int = READ_ATTEMPTS,
    ) -> _T:
        """Send a read-only POST, for queries that are too long for a URL; otherwise as `get`."""
        return await self._retried(
            attempts, "POST", path, purpose=purpose, read=read, decode=decode, body=body, is_question=True
        )

    async def change(
        self,
        method: str,
        path: str,
        *,
        purpose: Purpose,
        body: Mapping[str, Any],
        read: Callable[[Any], _T],
        who: str = "",
        credentials: Credentials | None = None,
        on_send: Callable[[], None] | None = None,
    ) -> _T:
        """Send a request that changes something, without retries: the caller decides what a lost answer means.

        Args:
            method: POST or PATCH.
            path: the path below `/api/v2/`.
            purpose: the purpose of the request.
            body: sent as JSON.
            read: parses the decoded answer.
            who: the caller and tool; these take turns.
            credentials: instead of dagcall's own.
            on_send: called when the request is sent; before, it has no effect.
        """
        self.gate.retries.request()
        return await self._request(
            method, path, purpose=purpose, read=read, body=body, who=who, credentials=credentials, on_send=on_send
        )

    async def _retried(self, attempts: int, method: str, path: str, *, read: Callable[[Any], _T], **request: Any) -> _T:
        self.gate.retries.request()
        return await retry(
            lambda: self._request(method, path, read=read, **request), may_retry=self.may_retry, attempts=attempts
        )

    def may_retry(self, error: Exception) -> bool | float:
        """Return whether the budget allows a retry; if Airflow asked for a delay, the seconds to wait."""
        may_pass = isinstance(error, (AirflowUnreachable, AirflowAnswerUnusable))
        if not may_pass or isinstance(error, (CircuitOpen, AirflowAnswerTooLarge)) or not self.gate.retries.take():
            return False
        return is_unreachable(error) or True

    async def stream(
        self, path: str, *, query: Query, silence_seconds: float, parse: Callable[[str], _T]
    ) -> Stream[_T]:
        """Request an answer that comes line by line. The caller holds a place in the gate (`Purpose.STREAM`).

        Args:
            path: the path below `/api/v2/`.
            query: the query parameters.
            silence_seconds: the read time-out between lines.
            parse: parses a line.
        """

        async def open_stream(headers: Mapping[str, str]) -> HttpAnswer | Stream[_T]:
            async with self.gate.place(Purpose.RESULT):
                with self._reported:
                    answer = await self._http.stream(
                        f"{API}{path}",
                        headers=headers,
                        query=query,
                        silence_seconds=silence_seconds,
                        read=lambda line: self._read(parse, line, path),
                    )
            if isinstance(answer, HttpAnswer):
                report(self.gate, answer)
            else:
                self.gate.answered()
            return answer

        headers = await _authorization(self.credentials)
        answer = await open_stream(headers)
        if isinstance(answer, HttpAnswer) and (renewed := await self._renewed(self.credentials, headers, answer, path)):
            answer = await open_stream(renewed)
        if isinstance(answer, HttpAnswer):
            raise self._error(answer, path, is_effect_possible=False)
        return answer

    def _read(self, read: Callable[[str], _T], text: str, path: str) -> _T:
        """Parse an answer.

        Raises:
            AirflowAnswerUnusable: it does not have Airflow's form.
        """
        try:
            return read(text)
        except (*PARSE_ERRORS, RecursionError) as error:
            raise AirflowAnswerUnusable(
                f"{self.url} answered /api/v2/{path} with something that Airflow 3.1 to 3.3 does not send "
                f"({type(error).__name__}: {str(error)[:100]}); check airflow.url (the address of Airflow's UI, with "
                "its path if it has one) and what is in front of Airflow"
            ) from error

    async def _request(
        self,
        method: str,
        path: str,
        *,
        purpose: Purpose,
        read: Callable[[Any], _T],
        decode: Callable[[str], Any] = json.loads,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        is_anonymous: bool = False,
        is_question: bool = False,
        who: str = "",
        credentials: Credentials | None = None,
        on_send: Callable[[], None] | None = None,
    ) -> _T:
        """Send one request through the gate; log in again once if Airflow refuses the token."""
        credentials = credentials or self.credentials
        headers = {} if is_anonymous else await _authorization(credentials)
        is_effect_possible = method != "GET" and not is_question
        kind = kind_of(method, path)
        tells_of_airflow = not kind.is_read_elsewhere

        async def send(headers: Mapping[str, str]) -> HttpAnswer:
            async with self.gate.place(purpose, who=who) as place:
                if on_send is not None:
                    on_send()
                with self._reported if tells_of_airflow else nullcontext():
                    answer = await self._http.send(
                        method,
                        f"{API}{path}",
                        headers=headers,
                        query=query,
                        body=body,
                        is_effect_possible=is_effect_possible,
                    )
                if tells_of_airflow or not says_later(answer):
                    report(self.gate, answer)
                if answer.is_success:
                    place.took(kind.name, calm=kind.calm_seconds)
            return answer

        answer = await send(headers)
        if renewed := await self._renewed(credentials, headers, answer, path, query):
            answer = await send(renewed)
        if not answer.is_success:
            raise self._error(answer, path, is_effect_possible=is_effect_possible)
        return self._read(lambda text: read(decode(text)), answer.text, path)

    async def _renewed(
        self,
        credentials: Credentials,
        headers: Mapping[str, str],
        answer: HttpAnswer,
        path: str,
        query: Query | None = None,
    ) -> Mapping[str, str] | None:
        """Return the headers for a second try, if another token may help and there is one.

        An answer that shows nothing is believed with a new token, and for some time after.
        """
        is_doubtful = (
            credentials.may_end_unnoticed
            and (request := f"{path}?{query}") not in self._believed
            and shows_nothing(answer)
        )
        if not (is_doubtful or says_log_in_again(answer)) or not credentials.can_renew_after(_token_in(headers)):
            return None
        renewed = await _authorization(credentials)
        if is_doubtful:
            self._believed[request] = True
        return renewed if renewed != headers else None

    def _error(self, answer: HttpAnswer, path: str, *, is_effect_possible: bool) -> AirflowError:
        """Turn an error status into an exception.

        A refusal counts only in Airflow's own form: a proxy's "404 page not found" says nothing about a run.
        """
        status, reason = answer.status, reason_in(answer)
        said = f"{status}: {reason or answer.reason or 'no reason given'}"
        if refuses_token(answer):
            return AirflowLogInRefused(
                f"Airflow at {self.url} refused /api/v2/{path} ({said}); check the credentials in dagcall's settings"
            )
        if says_later(answer):
            return AirflowUnreachable(
                f"Airflow at {self.url} cannot answer now ({status}); try again in a moment",
                is_effect_possible=is_effect_possible and status != HTTPStatus.TOO_MANY_REQUESTS,
                retry_after_seconds=retry_after_seconds(answer),
            )
        if reason is not None and (refusal := self._refusal(status, reason, path)):
            return refusal
        if status in _REFUSALS:
            return AirflowAnswerUnusable(
                f"{self.url} answered /api/v2/{path} with status {status}{page_title(answer)}, but not as Airflow "
                "does: something in front of Airflow answered, or another server; check airflow.url and what is in "
                "front of Airflow"
            )
        return AirflowAnswerUnusable(
            f"{self.url} answered {path} with status {status}, which Airflow never does there; check the URL"
            + pointing_to(answer)
        )

    def _refusal(self, status: int, reason: str, path: str) -> AirflowError | None:
        """Turn Airflow's own refusal into an exception; None for a status that Airflow never returns."""
        match status:
            case HTTPStatus.FORBIDDEN:
                return AirflowRefused(
                    f"Airflow at {self.url} refused /api/v2/{path} ({status}: {reason}); the account that dagcall uses "
                    "may not do this"
                )
            case HTTPStatus.NOT_FOUND:
                return AirflowNotFound(f"Airflow at {self.url} has no {path} ({reason})")
            case HTTPStatus.CONFLICT:
                return AirflowConflict(f"Airflow at {self.url} says that {path} exists already")
            case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY:
                return AirflowRejected(f"Airflow refused {path}: {reason}", reason=reason)
        return None


def airflow_clock(own: Callable[[], datetime] | None = None) -> AirflowClock:
    """Return a clock that follows Airflow's answers; before the first, dagcall's own clock."""
    real = lambda: datetime.now(UTC)  # noqa: E731, TID251 - the real clock, except in tests
    return AirflowClock(own=own or real, monotonic=asyncio.get_running_loop().time)


async def _authorization(credentials: Credentials) -> dict[str, str]:
    token = await credentials.token()
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _token_in(headers: Mapping[str, str]) -> str | None:
    return headers.get("Authorization", "").removeprefix("Bearer ") or None
