"""Paths -> route templates, and what else is known of them."""

import pytest

from dagcall.airflow.endpoints import OTHER, TEMPLATES, endpoint_of, kind_of

RUN = "/api/v2/dags/{dag_id}/dagRuns/{run_id}"


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/api/v2/dags/~/dagRuns/list", "/api/v2/dags/~/dagRuns/list"),
        ("/api/v2/dags/list/dagRuns/list", RUN),
        ("/api/v2/dags/a%2Fb/dagRuns/mcp__1/wait", f"{RUN}/wait"),
        ("/api/v2/dags/a/dagRuns/~/hitlDetails", f"{RUN}/hitlDetails"),
        ("/api/v2/dags/~/dagRuns/~/hitlDetails", f"{RUN}/hitlDetails"),
        (
            "/api/v2/dags/d/dagRuns/r/taskInstances/t/3/dependencies",
            f"{RUN}/taskInstances/{{task_id}}/{{map_index}}/dependencies",
        ),
        ("/api/v2/dags/d/dagRuns/r/taskInstances/t/logs/2", f"{RUN}/taskInstances/{{task_id}}/logs/{{try_number}}"),
        ("/auth/token", "/auth/token"),
        ("/api/v2/dags/d/unknown", OTHER),
        ("/api/v2", OTHER),
        ("", OTHER),
    ],
)
def test_ids_do_not_change_the_template(path: str, template: str) -> None:
    assert endpoint_of(path) == template


@pytest.mark.parametrize("template", TEMPLATES)
def test_template_is_found_whatever_the_ids_are(template: str) -> None:
    for an_id in ("x", "mcp__0", "%7E", "3"):
        path = "/".join(an_id if segment.startswith("{") else segment for segment in template.split("/"))
        assert endpoint_of(path) == template


def test_only_logs_are_read_elsewhere() -> None:
    assert kind_of("GET", "dags/d/dagRuns/r/taskInstances/t/logs/1").is_read_elsewhere
    assert not kind_of("GET", "dags/logs/dagRuns/logs/taskInstances/logs/xcomEntries/logs").is_read_elsewhere
