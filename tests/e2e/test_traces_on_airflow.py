"""The spans of a run and its tasks, from the times that a real Airflow gives."""

from tests.support.otlp_receiver import receiving
from tests.support.polling import until
from tests.support.running_demo import RunningDemo
from tests.support.serving_process import MODERN, http_server

CALL = "tools/call score_many"
TEXTS = ["It was good.", "It was bad."]


def test_call_run_and_tasks_are_in_one_trace_and_overlap_in_time(demo: RunningDemo) -> None:
    with receiving() as collector:
        environ = {**demo.environ, "DAGCALL_CONFIG": str(demo.config), "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        with http_server(environ | {"OTEL_BSP_SCHEDULE_DELAY": "100"}) as server:
            answer = server.ask(MODERN, "tools/call", name="score_many", arguments={"texts": TEXTS})
            assert not answer["result"].get("isError"), answer
            until(lambda: bool(collector.named("dag_run score_many")))
            server.stop()

    (call,), (run,) = collector.named(CALL), collector.named("dag_run score_many")
    tasks = [span for span in collector.spans if span.parent_span_id == run.span_id]
    assert run.parent_span_id == call.span_id
    assert len([span for span in tasks if span.name.endswith(("[0]", "[1]"))]) >= len(TEXTS)
    assert {span.trace_id for span in (run, *tasks)} == {call.trace_id}
    assert call.start_time_unix_nano < run.start_time_unix_nano < run.end_time_unix_nano < call.end_time_unix_nano
    for task in tasks:
        assert run.start_time_unix_nano <= task.start_time_unix_nano <= task.end_time_unix_nano
        assert task.end_time_unix_nano <= run.end_time_unix_nano
