"""`/metrics` of `dagcall serve`, as Prometheus scrapes it. Airflow is the fake, on a real socket."""

from pathlib import Path

import httpx
import pytest

from dagcall.auth.keys import entry_of, new_key
from tests.fake_airflow.serving import served
from tests.processes.example import airflow_with_dags
from tests.support.commands import free_port
from tests.support.plain_http import PLAIN
from tests.support.scraped import Samples, samples_of, total, value
from tests.support.serving_process import MODERN, HttpServer, environ_for, http_server, request, stdio_server


def get(url: str, key: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.get(url, headers=headers, trust_env=False, verify=PLAIN, timeout=60)


def scrape(url: str) -> Samples:
    answer = get(url)
    assert answer.status_code == 200
    return samples_of(answer.text)


def call_echo(server: HttpServer, it: str) -> None:
    answer = server.ask(MODERN, "tools/call", name="echo", arguments={"it": it})
    assert answer["result"]["structuredContent"]["results"] == {"back": it}


def test_calls_over_http_are_counted_and_served_on_loopback() -> None:
    airflow = airflow_with_dags()
    with served(airflow) as url, http_server(environ_for(url)) as server:
        for it in ("a", "b"):
            call_echo(server, it)
        samples = scrape(f"{server.root}/metrics")

    assert value(samples, "dagcall_requests_total", method="tools/call", tool="echo", outcome="success") == 2
    measured = total(samples, "mcp_server_operation_duration_seconds_count", gen_ai_tool_name="echo")
    over_tcp = total(
        samples, "mcp_server_operation_duration_seconds_count", gen_ai_tool_name="echo", network_transport="tcp"
    )
    assert measured == over_tcp == 2
    assert value(samples, "dagcall_ready") == 1
    assert total(samples, "process_resident_memory_bytes") > 1e6


def test_with_authentication_only_the_named_key_reads_them(tmp_path: Path) -> None:
    prometheus, other, file = new_key(), new_key(), tmp_path / "keys.toml"
    file.write_text(f"{entry_of(prometheus, 'prometheus')}\n{entry_of(other, 'other')}\n", encoding="utf-8")
    more = {"DAGCALL_AUTH_KEYS_FILE": str(file), "DAGCALL_METRICS_CALLERS": '["key:prometheus"]'}
    with served(airflow_with_dags()) as url, http_server(environ_for(url, **more)) as server:
        statuses = [get(f"{server.root}/metrics", key).status_code for key in ("", new_key(), other)]
        answer = get(f"{server.root}/metrics", prometheus)

    assert statuses == [401, 401, 403]
    samples = samples_of(answer.text)
    refused = [value(samples, "dagcall_callers_refused_total", reason=each) for each in ("missing", "invalid_token")]
    assert refused == [1, 1]


@pytest.mark.parametrize("is_on_stdio", [False, True], ids=["HTTP", "stdio"])
def test_second_port_serves_nothing_but_metrics(*, is_on_stdio: bool) -> None:
    port = free_port()
    root = f"http://127.0.0.1:{port}"
    with served(airflow_with_dags()) as url:
        environ = environ_for(url, DAGCALL_METRICS_PORT=str(port))
        if is_on_stdio:
            with stdio_server(environ) as stdio:
                *_, answer = stdio.stream(MODERN, request(MODERN, 1, "tools/call", {"name": "echo", "arguments": {}}))
                assert "result" in answer
                samples = scrape(f"{root}/metrics")
                code, errors = stdio.stop()
        else:
            with http_server(environ) as server:
                call_echo(server, "a")
                assert get(f"{server.root}/metrics").status_code == 404
                assert get(f"{root}/mcp").status_code == get(f"{root}/health").status_code == 404
                samples = scrape(f"{root}/metrics")
                code, errors = server.stop()

    transport = "pipe" if is_on_stdio else "tcp"
    assert total(samples, "mcp_server_operation_duration_seconds_count", network_transport=transport) >= 1
    assert value(samples, "dagcall_requests_total", method="tools/call", tool="echo", outcome="success") == 1
    assert code == 0, errors
    assert "Traceback" not in errors
    assert f"metrics are at {root}/metrics" in errors


def test_second_port_in_use_is_an_error_at_the_start() -> None:
    with served(airflow_with_dags()) as url:
        port = url.rpartition(":")[2]
        with stdio_server(environ_for(url, DAGCALL_METRICS_PORT=port)) as server:
            code, errors = server.ended()

    assert code == 2
    assert (
        f"port {port} of 127.0.0.1 cannot be used: Address already in use; choose another with metrics.port" in errors
    )
