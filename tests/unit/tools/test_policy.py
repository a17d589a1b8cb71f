from typing import Any

import pytest
from pydantic import ValidationError

from dagcall.airflow.model import DagSummary
from dagcall.tools.policy import ToolPolicy, policy_from_text


def dag(dag_id: str, *tags: str) -> DagSummary:
    return DagSummary(
        dag_id, frozenset(tags), is_paused=False, is_stale=False, has_import_errors=False, allowed_run_types=None
    )


@pytest.mark.parametrize(
    ("text", "selector", "selected"),
    [
        ("ml_train", 'dag = "ml_train"', [True, False, False]),
        ("ml_*", 'dags = "ml_*"', [True, True, False]),
        ("ml_[t]*", 'dags = "ml_[t]*"', [True, False, False]),
        ("ML_x", 'dag = "ML_x"', [False, False, True]),
        ("X", 'dag = "X"', [False, False, False]),
        ("tag:mcp", 'tag = "mcp"', [False, True, False]),
    ],
)
def test_selector_selects_matching_dags(text: str, selector: str, selected: list[bool]) -> None:
    policy = policy_from_text(text)

    assert policy.selector == selector
    assert [policy.selects(one) for one in (dag("ml_train"), dag("ml_score", "mcp"), dag("ML_x", "MCP"))] == selected


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({}, "give exactly one of dag, dags and tag; this entry has none of them"),
        ({"dag": "a", "tag": "b"}, "give exactly one of dag, dags and tag; this entry has dag and tag"),
        ({"tag": ""}, "tag is empty"),
        ({"tag": "a", "name": "x"}, 'name belongs to one tool: use it with dag = "…", not with tag'),
        (
            {"dag": "a", "name": "a b"},
            "name 'a b' is not a tool name: use 1 to 50 of A-Z, a-z, 0-9, _ and -, starting with a letter",
        ),
        (
            {"dag": "a", "name": "7up"},
            "name '7up' is not a tool name: use 1 to 50 of A-Z, a-z, 0-9, _ and -, starting with a letter",
        ),
        ({"dag": "a", "name": "wait_for_dag_run"}, "name 'wait_for_dag_run' is one of dagcall's own tools"),
        ({"dag": "a", "results": ["t", "t"]}, "names a task twice"),
        ({"dag": "a", "repeat": "new", "reuse_seconds": 1}, 'repeat = "new" and reuse_seconds contradict each other'),
        (
            {"dag": "a", "annotations": {"read_only": True, "destructive": True}},
            "read_only and destructive contradict each other",
        ),
    ],
)
def test_contradictory_or_incomplete_entry_is_refused(entry: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        ToolPolicy.model_validate(entry)

    (error,) = refusal.value.errors()
    assert error["msg"] == f"Value error, {sentence}"
