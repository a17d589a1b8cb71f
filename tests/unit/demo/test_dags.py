"""The demo's data and the expected answers agree; the dags themselves need Airflow and run in tests/e2e."""

import ast
import csv
import math
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import dagcall
from tests.support.demo_calls import SALES, SUMMARIES, DemoCall

DAGS = Path(dagcall.__file__).parent / "demo" / "dags"


def rows_of(name: str) -> list[dict[str, str]]:
    with (DAGS / "data" / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def summed(rows: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "orders": len({row["order_id"] for row in rows}),
        "quantity": sum(int(row["quantity"]) for row in rows),
        "revenue": float(sum((int(row["quantity"]) * Decimal(row["unit_price"]) for row in rows), Decimal(0))),
    }


@pytest.mark.parametrize("call", SALES, ids=["all", "months", "products", "no orders"])
def test_expected_sales_match_the_totals_of_the_file(call: DemoCall) -> None:
    expected = call.results["report"]
    by = expected["group_by"]
    chosen = [
        row | {"month": row["date"][:7]}
        for row in rows_of("shop_orders_2025.csv")
        if expected["period"]["start"] <= row["date"] <= expected["period"]["end"]
        and row["region"] in (call.arguments.get("regions") or [row["region"]])
    ]
    groups = defaultdict(list)
    for row in chosen:
        groups[row[by]].append(row)
    totals = summed(chosen)
    rows = [{by: name, **summed(members)} for name, members in groups.items()]
    rows = [row | {"share": round(row["revenue"] / totals["revenue"], 4)} for row in rows]
    rows = [row for row in rows if row["revenue"] >= (call.arguments.get("min_revenue") or 0)]
    rows.sort(key=lambda row: row[by] if by == "month" else -row["revenue"])
    limit = call.arguments.get("limit", 20)

    assert expected["rows"] == rows[:limit]
    assert expected["rows_left_out"] == max(0, len(rows) - limit)
    assert expected["totals"] == (totals if call.arguments.get("include_totals", True) else None)


#: The words of the first two texts, sentence by sentence, without the filler words.
FERRY_WORDS = [
    "harbour ostend closed monday",
    "ferry nora lost power near harbour entrance 30 blocked channel five hours",
    "dr peeters port authority said two tugs pulled ferry back berth",
    "nobody hurt",
    "passengers given breakfast",
    "fire engine room crew put within minutes caused loss power",
    "ferry stay harbour until engine repaired",
]
CYCLING_WORDS = ["radwege", "stadt köln plant drei neue radwege", "mai beginnt bau radwege", "kosten trägt stadt"]


def solved_text_rank(sentences: list[set[str]]) -> list[float]:
    """Solve TextRank's linear equations by elimination; the dag approximates the solution iteratively."""
    size = range(len(sentences))
    weights = [
        [0.0 if a is b else len(a & b) / (math.log(1 + len(a)) + math.log(1 + len(b))) for b in sentences]
        for a in sentences
    ]
    matrix = [
        [float(i == j) - 0.85 * (weights[i][j] and weights[i][j] / sum(weights[j])) for j in size] + [0.15]
        for i in size
    ]
    for i in size:
        matrix[i] = [value / matrix[i][i] for value in matrix[i]]
        for j in size:
            if i != j:
                matrix[j] = [a - matrix[j][i] * b for a, b in zip(matrix[j], matrix[i], strict=True)]
    return [row[-1] for row in matrix]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        pytest.param(SUMMARIES[0], FERRY_WORDS, id="ferry"),
        pytest.param(SUMMARIES[1], CYCLING_WORDS, id="cycling"),
    ],
)
def test_expected_summaries_match_text_rank(call: DemoCall, words: list[str]) -> None:
    expected = call.results["summarize"]
    sentences = [set(line.split()) for line in words]
    focus = {word.lower() for word in call.arguments.get("focus", [])}
    scores = [
        rank * (1 + 0.3 / (1 + i)) * min(1, (1 + len(sentences[i])) / 4) * (2 if focus & sentences[i] else 1)
        for i, rank in enumerate(solved_text_rank(sentences))
    ]
    best = sorted(range(len(scores)), key=lambda i: -scores[i])[: call.arguments.get("max_sentences", 3)]

    assert expected["sentences_total"] == len(sentences)
    assert {entry["position"]: entry["score"] for entry in expected["sentences"]} == {
        i + 1: round(scores[i] / max(scores), 3) for i in best
    }


def test_order_lines_match_the_catalogue_at_its_price_or_less() -> None:
    catalogue = {row["product"]: row for row in rows_of("catalogue.csv")}
    for row in rows_of("shop_orders_2025.csv"):
        assert row["category"] == catalogue[row["product"]]["category"]
        assert Decimal(row["unit_price"]) <= Decimal(catalogue[row["product"]]["unit_price"])


#: Parsing a dag creates its operators, so they must be imported then.
OPERATORS = {"approve_refund": {"airflow.providers.standard.operators.hitl"}}


@pytest.mark.parametrize("path", sorted(DAGS.glob("*.py")), ids=lambda path: path.stem)
def test_parsing_a_dag_imports_only_the_sdk_its_operators_and_the_stdlib(path: Path) -> None:
    """Every parse and every task pays for a provider that is imported at the top of the file."""
    imported = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    foreign = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert foreign == {"airflow.sdk"} | OPERATORS.get(path.stem, set())
