"""The error of `estimated_tokens`, measured with two tokenizers that npm ships with their vocabularies.

`o200k_base` is that of OpenAI's models since GPT-4o. `claude_2` is the only one that Anthropic published; its current
models use others. The tools are those of the demo's dags and of the dags of other tests.
"""

import asyncio
import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dagcall.dag_files import read_dag_files
from dagcall.demo.stack import DAGS as DEMO_DAGS
from dagcall.lint import estimated_tokens
from dagcall.lint.tokens import text_read
from dagcall.tools import Catalog, ToolPolicy, own_tools, wire_json
from tests.dag_files.conftest import NEWEST, PythonOf
from tests.support.commands import clean_environ
from tests.support.node import NodeProject, node_project
from tests.support.terminal import terminal_of

HERE = Path(__file__).parent
FOLDERS = (
    DEMO_DAGS,
    *(HERE.parent / name / "dags" for name in ("clients", "conformance", "contract", "e2e", "faults", "soak")),
)
OTHER_LANGUAGES = {
    "German": "Berechnet den Umsatz der Filialen in einem Zeitraum und gibt die Summen je Region zurück.",
    "French": "Calcule le chiffre d'affaires des magasins sur une période et renvoie les totaux par région.",
    "Russian": "Подсчитывает выручку магазинов за период и возвращает итоги по регионам.",
    "Arabic": "يحسب إيرادات المتاجر خلال فترة ويعيد المجاميع حسب المنطقة.",
    "Hindi": "एक अवधि में दुकानों की बिक्री जोड़ता है और क्षेत्र के अनुसार योग लौटाता है।",
    "Japanese": "期間中の店舗の売上を集計し、地域ごとの合計を返します。",
    "Chinese": "统计一段时间内各门店的营业额并按地区返回合计。",
}
"""The description of one tool, ten times over, so that the schema counts little."""


@pytest.fixture(scope="module")
def tokenizer(request: pytest.FixtureRequest) -> NodeProject:
    return node_project(HERE / "tokenizer", terminal_of(request.config))


def counted(tokenizer: NodeProject, folder: Path, tools: list[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Return the tokens of each tool, by tokenizer."""
    texts = folder / "texts.json"
    texts.write_text(json.dumps([text_read(tool) for tool in tools]))
    done = tokenizer.run("count.mjs", str(texts))
    assert done.returncode == 0, done.stderr
    counts: dict[str, list[int]] = json.loads(done.stdout)
    return counts


def tools_of(python: Path, folder: Path) -> list[Mapping[str, Any]]:
    """Return every tool that the dags make, without the contract tests' hundreds of equal ones."""
    for dags in FOLDERS:
        shutil.copytree(dags, folder / dags.parent.name)
    files = read_dag_files(
        folder, python=str(python), environ=clean_environ(), read_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    snapshot = asyncio.run(Catalog(files, (ToolPolicy(dags="*"),)).refresh())
    wires = [*own_tools(), *(tool.wire for name, tool in snapshot.tools.items() if not name.startswith("many_"))]
    return [wire_json(wire) for wire in wires]


def test_the_error_for_english_texts(python_of: PythonOf, tokenizer: NodeProject, tmp_path: Path) -> None:
    tools = tools_of(python_of(NEWEST), tmp_path / "dags")
    estimates = [estimated_tokens(tool) for tool in tools]
    assert len(tools) >= 100
    for name, counts in counted(tokenizer, tmp_path, tools).items():
        errors = sorted(abs(estimate / count - 1) for estimate, count in zip(estimates, counts, strict=True))
        total, most = sum(estimates) / sum(counts) - 1, errors[int(len(errors) * 0.9)]
        print(f"{name}: {len(tools)} tools, {total:+.1%} all together; nine of ten within {most:.0%}")  # noqa: T201
        assert abs(total) < 0.03
        assert most < 0.15


def test_the_error_for_other_languages(tokenizer: NodeProject, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    tools: list[Mapping[str, Any]] = [
        {"name": "sales", "description": text * 10, "inputSchema": schema} for text in OTHER_LANGUAGES.values()
    ]
    estimates = [estimated_tokens(tool) for tool in tools]
    for name, counts in counted(tokenizer, tmp_path, tools).items():
        for language, estimate, count in zip(OTHER_LANGUAGES, estimates, counts, strict=True):
            print(f"{name}: {language} {estimate / count - 1:+.0%}")  # noqa: T201
            assert 0.5 < estimate / count < 2.5
