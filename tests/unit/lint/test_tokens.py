"""The estimate of tokens counts what models read. `tests/dag_files/test_tokens.py` measures its error."""

from typing import Any

import pytest

from dagcall.lint import estimated_tokens

TOOL: dict[str, Any] = {"name": "t", "description": "Does it.", "inputSchema": {"type": "object", "properties": {}}}


def test_tokens_grow_with_what_a_model_reads() -> None:
    longer = TOOL | {"description": TOOL["description"] + " More about it, in ten words that take some forty bytes."}
    assert 0 < estimated_tokens(TOOL) < estimated_tokens(longer)


@pytest.mark.parametrize("key", ["title", "outputSchema", "annotations", "_meta"])
def test_what_models_do_not_read_costs_nothing(key: str) -> None:
    assert estimated_tokens(TOOL | {key: {"much": "x" * 1000}}) == estimated_tokens(TOOL)


def test_every_text_can_be_counted() -> None:
    assert estimated_tokens(TOOL | {"description": "日本語 \ud800"}) > 0
