"""`dagcall serve` exports traces over OTLP if the environment says where to. Airflow is the fake, on a real socket."""

import time
from collections import Counter
from pathlib import Path

import httpx

from tests.fake_airflow.serving import served
from tests.processes.example import airflow_with_dags
from tests.support.otlp_receiver import receiving
from tests.support.plain_http import PLAIN
from tests.support.polling import until
from tests.support.serving_process import LEGACY, MODERN, environ_for, headers, http_server, request, stdio_server

TRACE, AGENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "100"}


def test_call_run_and_task_arrive_in_the_trace_of_the_http_header() -> None:
    airflow = airflow_with_dags()
    with receiving() as collector, served(airflow) as url:
        environ = environ_for(url, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **SOON)
        with http_server(environ) as server:
            message = request(LEGACY, 1, "tools/call", {"name": "echo", "arguments": {"it": "a"}})
            sent = headers(LEGACY, message) | {"traceparent": f"00-{TRACE}-{AGENT}-01"}
            httpx.post(
                server.url, json=message, headers=sent, timeout=60, trust_env=False, verify=PLAIN
            ).raise_for_status()
            until(lambda: bool(collector.named("dag_run echo")))
            code, errors = server.stop()

    assert code == 0
    assert "Traceback" not in errors
    assert collector.services == {"dagcall"}
    in_trace = [span for span in collector.spans if span.trace_id.hex() == TRACE]
    by_id = {span.span_id: span for span in in_trace}
    parents = {span.name: by_id[span.parent_span_id].name for span in in_trace if span.parent_span_id in by_id}
    call = "tools/call echo"
    assert parents == {
        "wait in line": call,
        "start the run": call,
        "wait for the run": call,
        "read the outcome": call,
        "dag_run echo": call,
        "back": "dag_run echo",
    }
    assert {span.parent_span_id.hex() for span in in_trace if span.name == call} == {AGENT}


def test_spans_of_the_last_calls_are_sent_when_dagcall_stops() -> None:
    with receiving() as collector, served(airflow_with_dags()) as url:
        environ = environ_for(url, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_SERVICE_NAME="agents")
        with stdio_server(environ) as server:
            for number in range(3):
                call = {"name": "echo", "arguments": {"it": str(number)}}
                list(server.stream(MODERN, request(MODERN, number, "tools/call", call)))
            code, errors = server.stop()

    assert code == 0
    assert f"traces go to {collector.url}" in errors
    counts = Counter(span.name for span in collector.spans)
    assert counts["tools/call echo"] == counts["dag_run echo"] == counts["back"] == 3
    assert collector.services == {"agents"}


def test_collector_that_does_not_answer_harms_no_call() -> None:
    with served(airflow_with_dags()) as url:
        environ = environ_for(url, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", **SOON)
        with http_server(environ) as server:
            answer = server.ask(MODERN, "tools/call", name="echo", arguments={"it": "a"})
            began = time.monotonic()
            code, _ = server.stop()
            seconds = time.monotonic() - began

    assert answer["result"]["structuredContent"]["results"] == {"back": "a"}
    assert code == 0
    assert seconds < 10, "a collector that is away does not keep dagcall from stopping"


def test_missing_extra_is_reported_and_calls_work(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['opentelemetry.sdk'] = None\n")
    more = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "PYTHONPATH": str(tmp_path)}
    with served(airflow_with_dags()) as url, stdio_server(environ_for(url, **more)) as server:
        call = {"name": "echo", "arguments": {"it": "a"}}
        *_, answer = server.stream(MODERN, request(MODERN, 1, "tools/call", call))
        code, errors = server.stop()

    assert answer["result"]["structuredContent"]["results"] == {"back": "a"}
    assert code == 0
    assert "no traces are exported to http://127.0.0.1:1: they need dagcall[otel]" in errors


def test_another_protocol_than_http_is_reported() -> None:
    more = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with served(airflow_with_dags()) as url, stdio_server(environ_for(url, **more)) as server:
        list(server.stream(MODERN, request(MODERN, 1, "tools/list", {})))
        _, errors = server.stop()

    assert "no traces are exported: dagcall speaks OTLP over http/protobuf, not grpc" in errors
