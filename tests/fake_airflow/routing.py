"""Maps requests to handlers, and checks that several handlers share."""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import httpx

from tests.fake_airflow import bodies, questions
from tests.fake_airflow.access import FakeUser
from tests.fake_airflow.dags import FakeDag
from tests.fake_airflow.runs import FakeRun
from tests.fake_airflow.wire import Refusal, Route

if TYPE_CHECKING:
    from tests.fake_airflow.server import FakeAirflow

Answer: TypeAlias = tuple[int, Any]
Handler: TypeAlias = Callable[["FakeAirflow", httpx.Request], Answer]
T = TypeVar("T")

_HANDLERS: list[tuple[Route, str, re.Pattern[str], Callable[..., Answer]]] = []


def route(name: Route, method: str, path: str) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path).replace("~", "(?:~|%7E)"))

    def register(handler: Callable[..., Answer]) -> Callable[..., Answer]:
        _HANDLERS.append((name, method, pattern, handler))
        return handler

    return register


def find_route(request: httpx.Request) -> tuple[Route, Handler]:
    """Return the name of the request's route and its handler."""
    is_known_path = False
    for name, method, pattern, handler in _HANDLERS:
        match = pattern.fullmatch(request.url.path)
        if match is not None:
            if method == request.method:
                return name, _bound(handler, match.groupdict())
            is_known_path = True
    return "unknown", _method_not_allowed if is_known_path else _no_such_route


def _bound(handler: Callable[..., Answer], params: dict[str, str]) -> Handler:
    return lambda airflow, request: handler(airflow, request, **params)


def _method_not_allowed(_airflow: "FakeAirflow", _request: httpx.Request) -> Answer:
    raise Refusal(405, "Method Not Allowed")


def _no_such_route(_airflow: "FakeAirflow", _request: httpx.Request) -> Answer:
    raise Refusal(404, None, body={"error": "API route not found"})


@dataclass(frozen=True)
class Lines:
    """The body of `/wait`."""

    run: FakeRun
    query: questions.WaitQuery

    async def lines(self, airflow: "FakeAirflow", _request: httpx.Request) -> AsyncIterator[str]:
        while not self.run.is_deleted:  # the real one fails internally; its client sees the stream end
            run = airflow.look_at(self.run)
            # Read before the line is sent, because the run may change until the client reads the next line.
            changed, is_final, is_silent = run.changed, run.is_final, run.is_held and not airflow.steady_streams
            line = {"state": run.state}
            if is_final:
                line |= bodies.wait_results(run, self.query.result, airflow.version)
            yield json.dumps(line) + "\n"
            if is_final:
                return
            if is_silent:
                await changed.wait()
            else:
                await airflow.clock.sleep(self.query.interval)
                airflow.advance()


# Shared checks


def reader(airflow: "FakeAirflow", request: httpx.Request, dag_id: str = "~") -> FakeUser:
    user = airflow.access.user(request)
    if not user.may_read(dag_id):
        raise Refusal(403, "Forbidden")
    return user


def writer(airflow: "FakeAirflow", request: httpx.Request, dag_id: str) -> FakeUser:
    user = reader(airflow, request, dag_id)
    if user.role != "admin":
        raise Refusal(403, "Forbidden")
    return user


def is_like(value: str, pattern: str | None, version: str) -> bool:
    """Match like `ILIKE %pattern%`; since 3.2 `|` separates alternatives."""
    if pattern is None or pattern == "~":
        return True
    terms = [term.strip() for term in pattern.split("|") if term.strip()] if version >= "3.2" else [pattern]
    regexes = (re.escape(term).replace("%", ".*").replace("_", ".") for term in terms)
    return any(re.search(regex, value, re.IGNORECASE | re.DOTALL) for regex in regexes)


def in_order(items: Iterable[T], order_by: Sequence[str], keys: dict[str, Callable[[T], Any]]) -> list[T]:
    """Sort by several keys, `-key` for descending; nulls come first, as in SQLite."""
    ordered = list(items)
    for name in reversed(order_by):
        key = keys.get(name.lstrip("-"))
        if key is None:
            detail = f"Ordering with '{name.lstrip('-')}' is disallowed or the attribute does not exist on the model"
            raise Refusal(400, detail)
        nulls = [item for item in ordered if key(item) is None]
        others = sorted((i for i in ordered if key(i) is not None), key=key, reverse=name.startswith("-"))
        ordered = others + nulls if name.startswith("-") else nulls + others
    return ordered


def known_dag(airflow: "FakeAirflow", dag_id: str) -> FakeDag:
    if dag_id not in airflow.dags:
        raise Refusal(404, f"The Dag with ID: `{dag_id}` was not found")
    return airflow.dags[dag_id]


def require_tilde(name: str, value: str) -> None:
    if value != "~":
        detail = {"type": "literal_error", "loc": ["path", name], "msg": "Input should be '~'", "input": value}
        raise Refusal(422, [detail | {"ctx": {"expected": "'~'"}}])
