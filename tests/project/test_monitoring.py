"""The dashboard and the alert rules use metrics and labels that exist."""

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml
from mcp import Client, MCPError

from dagcall.metrics import METRICS
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask
from tests.project.test_docs import DOCS
from tests.server.test_calls import add, call
from tests.support.in_memory import Served
from tests.support.scraped import scraped

FOLDER = DOCS / "monitoring"
VARIABLES = {"$__rate_interval": "5m", "$instance": ".*"}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    return found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> dict[str, str]:
    """Return every expression with a name for the test, Grafana's variables replaced."""
    found = {rule["alert"]: rule["expr"] for rule in rules()}
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for variable, text in VARIABLES.items():
        found = {name: expression.replace(variable, text) for name, expression in found.items()}
    return found


def selectors(node: Any) -> Iterator[Any]:
    """Yield all selectors of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector"):
        if (inner := getattr(node, name, None)) is not None:
            yield from selectors(inner)
    for argument in getattr(node, "args", None) or ():
        yield from selectors(argument)


EXPRESSIONS = expressions()


@pytest.fixture
async def exported(served: Served) -> dict[str, set[str]]:
    """Return the names of all samples of a server that served a few calls, with their labels."""
    airflow = FakeAirflow()
    airflow.add_dag(add())
    airflow.add_dag(FakeDag("fails", tasks=[FakeTask("it", lambda _: 1 / 0)]))
    async with served(airflow) as dagcall:
        await call(dagcall, "add", x=1)
        await call(dagcall, "fails")
        async with Client(dagcall.mcp.sdk) as client:
            with pytest.raises(MCPError):
                await client.call_tool("unknown", {})
        samples = scraped(dagcall)
    names: dict[str, set[str]] = {}
    for name, labels in samples:
        names.setdefault(name, {"instance"}).update(dict(labels))
    return names


async def test_expressions_use_exported_metrics_and_their_labels(exported: dict[str, set[str]]) -> None:
    used: set[str] = set()
    for title, expression in EXPRESSIONS.items():
        found = list(selectors(promql_parser.parse(expression)))
        assert found, title
        for selector in found:
            assert selector.name in exported, f"{title}: {selector.name}"
            labels = {matcher.name for matcher in selector.matchers.matchers}
            assert labels <= exported[selector.name], f"{title}: {labels}"
            used.add(selector.name)
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    assert {metric.exported_name for metric in METRICS} <= bases, "the dashboard shows every metric"


@pytest.mark.parametrize("title", EXPRESSIONS)
def test_labels_that_an_expression_groups_by_exist(title: str) -> None:
    known = {label for metric in METRICS for label in metric.labels} | {"le", "instance"}
    grouped = re.findall(r"\bby \(([^)]*)\)", EXPRESSIONS[title])
    assert {label.strip() for labels in grouped for label in labels.split(",")} <= known


def test_alerts_have_distinct_names_a_severity_and_a_summary() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names) == 10
    assert {rule["labels"]["severity"] for rule in rules()} == {"critical", "warning"}
    assert all(rule["annotations"]["summary"].endswith((".", "check.")) for rule in rules())


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    places = [panel["gridPos"] for panel in dashboard()["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23
