"""Any arguments as JSON over HTTP get a valid answer, and the server keeps running."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from tests.fake_airflow import FakeAirflow, FakeDag, FakeParam, FakeTask
from tests.fake_airflow.serving import WallClock, served
from tests.support.any_arguments import any_arguments, grown
from tests.support.plain_http import PLAIN
from tests.support.serving_process import LEGACY, MODERN, environ_for, headers, http_server, request

PARAMS: dict[str, Any] = {
    "n": FakeParam(1, type="integer"),
    "text": FakeParam("x", type="string"),
    "any": None,
    "rows": [],
}


def wire_text(message: Any) -> bytes | None:
    """Serialize a message as a lax program does; None if that is impossible."""
    try:
        return json.dumps(message).encode()
    except (RecursionError, ValueError):  # a number of more than 4,300 digits
        return None


@pytest.mark.parametrize("revision", [MODERN, LEGACY])
def test_any_arguments_get_an_answer(revision: str) -> None:
    airflow = FakeAirflow(clock=WallClock())
    airflow.add_dag(FakeDag("takes", params=PARAMS, tasks=[FakeTask("back", list)]))
    with (
        served(airflow) as url,
        http_server(environ_for(url)) as server,
        httpx.Client(trust_env=False, verify=PLAIN, timeout=60) as http,
    ):
        server.ask(revision, "tools/list")

        @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(any_arguments(PARAMS))
        def try_it(arguments: dict[str, Any]) -> None:
            message = request(revision, 1, "tools/call", {"name": "takes", "arguments": grown(arguments)})
            if (content := wire_text(message)) is None:
                return
            own = headers(revision, message) | {"Content-Type": "application/json"}
            answer = http.post(server.url, content=content, headers=own, timeout=30)
            assert answer.status_code < 500
            if answer.headers["content-type"].startswith("text/event-stream"):
                data = [line for line in answer.text.split("\n") if line.startswith("data: {")]
                assert {"result", "error"} & json.loads(data[-1].removeprefix("data: ")).keys()

        try_it()
        assert "result" in server.ask(revision, "tools/list")
        code, errors = server.stop()
    assert code == 0
    assert "Traceback" not in errors
    assert {seen.status for seen in airflow.requests if seen.route == "trigger"} == {200}
