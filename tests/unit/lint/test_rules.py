"""Each rule of `dagcall lint` finds its case, and none complains about a tool that a model can use."""

from typing import Any

import pytest

from dagcall.airflow import BrokenFile, Dag, DagSummary, Param
from dagcall.lint import RULES, WHOLE_LIST, Evidence, Finding, Level, RecentRuns, findings_about
from dagcall.tools import PAUSED, Snapshot, ToolPolicy, Withheld
from dagcall.tools.tool import Tool, tool_from_dag

TEXT = "Adds up the orders of a period and returns the totals by region."
REGION = Param("region", "North", {"type": "string"}, "The region of the shops.")
WAITS: Any = {"stdio": 50.0, "http": 240.0}


def tool(dag_id: str = "sales", *, description: str | None = TEXT, doc_md: str = "", **more: Any) -> Tool:
    params, policy = more.pop("params", [REGION]), more.pop("policy", {})
    summary = DagSummary(
        dag_id,
        frozenset(),
        is_paused=False,
        is_stale=False,
        has_import_errors=False,
        allowed_run_types=None,
        display_name=dag_id,
        description=description,
    )
    return tool_from_dag(Dag(summary, doc_md, tuple(params)), ToolPolicy(dag=dag_id, **policy))


def evidence(*tools: Tool, withheld: tuple[Withheld, ...] = (), **more: Any) -> Evidence:
    return Evidence(Snapshot({tool.name: tool for tool in tools}, withheld), wait_seconds=WAITS, **more)


def found(at: Evidence) -> list[tuple[str, str]]:
    return [(finding.subject, finding.rule) for finding in findings_about(at)]


def param(name: str = "p", value: Any = None, /, description: str | None = "It.", **schema: Any) -> Param:
    return Param(name, value, schema, description)


def many(count: int) -> list[Tool]:
    return [tool(f"sales_{number}") for number in range(count)]


CASES = {
    "broken-file": (
        evidence(broken=[BrokenFile("sales.py", 'File "/dags/sales.py", line 6, in x\nNameError: no such name')]),
        "sales.py",
        "Airflow cannot import it: line 6: NameError: no such name",
    ),
    "withheld": (
        evidence(withheld=(Withheld("sales", "it has no tasks"),)),
        "sales",
        "not published: it has no tasks",
    ),
    "paused": (
        evidence(withheld=(Withheld("sales", PAUSED),)),
        "sales",
        "not published: it is paused in Airflow",
    ),
    "left-out": (
        evidence(
            tool(doc_md="```toml dagcall\ntitel = 1\n```"),
            withheld=(Withheld("sales: the dagcall block in its doc_md", "…"),),
        ),
        "sales",
        "published without the dagcall block in its doc_md: line 2: 'titel' is not a key",
    ),
    "no-description": (evidence(tool(description=None)), "sales", "no description: a model knows only its name"),
    "repeats-name": (
        evidence(tool("sales_report", description="Runs the sales report DAG.")),
        "sales_report",
        "its description only repeats its name",
    ),
    "cut-description": (
        evidence(tool(description=f"{TEXT} " * 30)),
        "sales",
        "its description has 1,949 characters; only the first ",
    ),
    "undescribed-param": (
        evidence(tool(params=[param(description=None, type="string")])),
        "sales",
        "param p: no description",
    ),
    "untyped-param": (evidence(tool(params=[param()])), "sales", "param p: no type, so a model may send anything"),
    "open-object": (
        evidence(tool(params=[param("p", {}, type=["null", "object"])])),
        "sales",
        "param p: takes any object, so a model must guess the keys",
    ),
    "open-list": (
        evidence(tool(params=[param("p", [])])),
        "sales",
        "param p: takes a list of anything, so a model must guess the items",
    ),
    "param-name": (
        evidence(tool(params=[param("max-rows", 3, type="integer")])),
        "sales",
        "param max-rows: Vertex AI documents argument names of other characters",
    ),
    "too-many-tools": (
        evidence(*many(126)),
        WHOLE_LIST,
        "129 tools, dagcall's own included, are more than one request may have: OpenAI (128), Vertex AI (128)",
    ),
    "many-tools": (evidence(*many(28)), WHOLE_LIST, "31 tools, dagcall's own included: above 30, models pick"),
    "costly-list": (evidence(*many(140)), WHOLE_LIST, "tokens in every conversation, more than 10,000"),
    "costly-tool": (
        evidence(tool(params=[param("p", None, enum=[f"value number {number}" for number in range(600)])])),
        "sales",
        "tokens in every conversation",
    ),
    "slow-run": (
        evidence(tool(), recent={"sales": RecentRuns(seconds=20.0)}),
        "sales",
        "its runs usually take 20 s, which outlasts the time-outs of OpenAI Agents SDK (5 s), Google ADK (5 s)",
    ),
    "large-result": (
        evidence(tool(), recent={"sales": RecentRuns(result_bytes=123_456)}),
        "sales",
        "its results usually have 123,456 bytes, more than server.max_result_bytes (100,000)",
    ),
}
"""Rule -> what it looks at, the subject of its finding, and what the finding says."""


@pytest.mark.parametrize("rule", CASES)
def test_rule_finds_its_case(rule: str) -> None:
    at, subject, what = CASES[rule]
    finding = next(finding for finding in findings_about(at) if finding.rule == rule)
    assert finding.subject == subject
    assert what in finding.what
    assert finding.instead
    assert "{{" not in finding.what + finding.instead


def test_every_rule_has_a_case() -> None:
    assert [rule.name for rule in RULES] == list(CASES)


def test_findings_of_rules_that_providers_publish_name_the_page() -> None:
    pages = {rule: next(f.page for f in findings_about(CASES[rule][0]) if f.rule == rule) for rule in CASES}
    assert {rule for rule, page in pages.items() if page.startswith("https://")} == {
        *("no-description", "repeats-name", "param-name", "too-many-tools", "many-tools", "costly-list")
    }


def test_keys_and_items_of_params_are_looked_at() -> None:
    order = {"type": "object", "properties": {"sku": {}, "customer": {"type": "object"}, "tags": {"type": "array"}}}
    at = evidence(tool(params=[param("orders", None, type="array", items=order)]))
    assert [finding.what for finding in findings_about(at)] == [
        "param orders[].sku: no type, so a model may send anything",
        "param orders[].customer: takes any object, so a model must guess the keys",
        "param orders[].tags: takes a list of anything, so a model must guess the items",
    ]


@pytest.mark.parametrize(
    ("count", "named"), [(2, "params p0, p1"), (10, "params p0, p1, p2, p3, p4, p5, p6, p7, and 2 more")]
)
def test_one_finding_names_the_params_of_a_tool(count: int, named: str) -> None:
    params = [param(f"p{number}", 3, description=None) for number in range(count)]
    (finding,) = findings_about(evidence(tool(params=params)))
    assert finding.what == f"{named}: no description"


@pytest.mark.parametrize(
    "fine",
    [
        pytest.param(tool(), id="described and typed"),
        pytest.param(tool(params=[]), id="without params"),
        pytest.param(tool(description=None, doc_md="Adds up the orders."), id="described in doc_md"),
        pytest.param(tool(description=None, policy={"description": "Adds up orders."}), id="described by the operator"),
        pytest.param(
            tool(description=f"{TEXT} `p` is the period.", params=[param("p", 3, description=None)]),
            id="a param described in the dag's description",
        ),
        pytest.param(tool(params=[param("p", None, enum=["a", "b"])]), id="an enum without a type"),
        pytest.param(tool(params=[param("p", None, anyOf=[{"type": "string"}])]), id="anyOf"),
        pytest.param(tool(params=[param("p", {"a": 1})]), id="a default that shows the keys"),
        pytest.param(
            tool(params=[param("p", {}, type="object", additionalProperties={"type": "number"})]), id="free keys"
        ),
        pytest.param(tool(params=[param("p", {}, type="object", examples=[{"a": 1}])]), id="an example"),
        pytest.param(tool(params=[param("p", [], type="array", items={"type": "string"})]), id="typed items"),
        pytest.param(tool(params=[param("max rows", 3)]), id="a name that dagcall changes"),
        pytest.param(tool(params=[param(type="string", format="email")]), id="a format that dagcall describes"),
        pytest.param(tool(params=[param()], policy={"fixed": {"p": 1}}), id="a fixed param"),
    ],
)
def test_no_rule_complains_about(fine: Tool) -> None:
    assert findings_about(evidence(fine)) == []


@pytest.mark.parametrize(
    ("recent", "policy"),
    [
        pytest.param(RecentRuns(seconds=4.0, result_bytes=99_999), {}, id="fast and small"),
        pytest.param(RecentRuns(), {}, id="no runs yet"),
        pytest.param(RecentRuns(seconds=500.0), {"wait_seconds": 4}, id="a call that answers early"),
    ],
)
def test_runs_that_fit_are_not_mentioned(recent: RecentRuns, policy: dict[str, Any]) -> None:
    assert findings_about(evidence(tool(policy=policy), recent={"sales": recent})) == []


def test_a_call_over_stdio_is_measured_by_its_shorter_wait() -> None:
    """Claude Desktop waits for 60 s, and on stdio a call answers after 50 s."""
    (finding,) = findings_about(evidence(tool(), recent={"sales": RecentRuns(seconds=500.0)}))
    assert "Claude Desktop" not in finding.what
    assert "MCP SDK for TypeScript (60 s)" in finding.what


def test_findings_are_in_the_order_of_subjects_with_the_list_last() -> None:
    untyped = [tool(dag_id, description=None, params=[param()]) for dag_id in ("b", "a")]
    at = evidence(*untyped, *many(30), withheld=(Withheld("c", "it has no tasks"),))
    assert found(at) == [
        *(("a", "no-description"), ("a", "untyped-param"), ("b", "no-description"), ("b", "untyped-param")),
        *(("c", "withheld"), (WHOLE_LIST, "many-tools")),
    ]


def test_errors_of_a_subject_come_before_its_warnings() -> None:
    (first, *others) = findings_about(evidence(tool(description=None, doc_md="```toml dagcall\ntitel = 1\n```")))
    assert (first.level, {other.level for other in others}) == (Level.ERROR, {Level.WARNING})
    assert isinstance(first, Finding)
