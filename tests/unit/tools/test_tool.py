"""What a model sees of a dag, and what clients require of every tool."""

from typing import Any

import pytest

from dagcall.airflow.model import Dag, DagSummary, Param
from dagcall.errors import ToolUnpublishable
from dagcall.tools.policy import ToolPolicy
from dagcall.tools.tool import LeftOut, own_tools, tool_from_dag, wire_json

HOW = "The call runs the dag and waits for its result."


def dag(dag_id: str = "d", *, description: str | None = None, doc_md: str | None = None, params: Any = ()) -> Dag:
    summary = DagSummary(
        dag_id,
        frozenset(),
        is_paused=False,
        is_stale=False,
        has_import_errors=False,
        allowed_run_types=None,
        display_name=f"The {dag_id}",
        description=description,
    )
    return Dag(summary, doc_md, tuple(params))


@pytest.mark.parametrize(
    ("made_of", "policy", "description"),
    [
        pytest.param({"description": "Adds."}, {}, f"Adds.\n\n{HOW}", id="the author's"),
        pytest.param(
            {"doc_md": "# Title\n\nLong *text*\nhere.\n\nMore."}, {}, f"Long text here.\n\n{HOW}", id="doc_md"
        ),
        pytest.param({"description": "Adds.", "doc_md": "In detail."}, {}, f"Adds.\n\nIn detail.\n\n{HOW}", id="both"),
        pytest.param({"description": "Adds. Well.", "doc_md": "Adds."}, {}, f"Adds. Well.\n\n{HOW}", id="not twice"),
        pytest.param({"description": "Adds."}, {"description": "Ours."}, f"Ours.\n\n{HOW}", id="the operator's"),
        pytest.param({}, {}, f"Runs the Airflow dag d.\n\n{HOW}", id="no description"),
        pytest.param(
            {"params": [Param("n", 1, {}, None), Param("m", None, {"type": "string"}, None)]},
            {},
            f"Runs the Airflow dag d.\n\n{HOW} Optional: n. Omit values that you were not given.",
            id="optional params",
        ),
        pytest.param(
            {"description": "Do\u200b \U000e0041\u202ethis."}, {}, f"Do this.\n\n{HOW}", id="invisible characters"
        ),
    ],
)
def test_description_combines_the_available_texts(
    made_of: dict[str, Any], policy: dict[str, Any], description: str
) -> None:
    assert tool_from_dag(dag(**made_of), ToolPolicy(dag="d", **policy)).wire.description == description


def test_a_long_description_ends_at_a_word() -> None:
    text = tool_from_dag(dag(description="word " * 500), ToolPolicy(dag="d")).wire.description or ""

    assert text.startswith("word word")
    assert text.removesuffix(f"…\n\n{HOW}").endswith("word")
    assert len(text) <= 1024


def test_description_with_the_line_about_arguments_respects_the_limit() -> None:
    params = [Param(f"an_optional_number_{n}", n, {}, "Counts things. " * 100) for n in range(30)]
    text = "It reads every shop's orders, adds what they cost, and writes it down. " * 20

    for count in (0, 1, 20, 30):
        wire = tool_from_dag(dag(description=text, params=params[:count]), ToolPolicy(dag="d")).wire
        said, _, how = (wire.description or "").partition("\n\n")

        assert len(wire.description or "") <= 1024
        assert said.endswith("writes it down. …")
        assert how.startswith(HOW)
        assert how.endswith("Omit values that you were not given.") == (count > 0)
    assert "Optional: 30 of the 30 arguments. Omit" in how


def test_description_length_is_counted_in_utf_16_units() -> None:
    wire = tool_from_dag(dag(description="\N{GRINNING FACE}" * 1000), ToolPolicy(dag="d")).wire

    assert len((wire.description or "").encode("utf-16-le")) // 2 <= 1024


def test_tool_that_could_make_a_client_lose_all_tools_is_not_published() -> None:
    unchecked = ToolPolicy(dag="d").model_copy(update={"name": "7up"})

    with pytest.raises(ToolUnpublishable, match="it could make a client lose all its tools: Gemini and others refuse"):
        tool_from_dag(dag(), unchecked)


def test_tool_is_complete_on_the_wire() -> None:
    tool = tool_from_dag(
        dag("sales.daily", params=[Param("n", 1, {"type": "integer", "title": "N\u200b"}, "How\u202e many")]),
        ToolPolicy.model_validate({"dag": "sales.daily", "name": "sales", "annotations": {"read_only": True}}),
    )
    wire = wire_json(tool.wire)

    assert wire.pop("outputSchema")["required"] == ["state", "dag_run_id", "url"]
    assert wire == {
        "name": "sales",
        "title": "The sales.daily",
        "description": (
            f"Runs the Airflow dag sales.daily.\n\n{HOW} Optional: n. Omit values that you were not given."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {"n": {"type": "integer", "title": "N", "description": "How many", "default": 1}},
            "required": [],
            "additionalProperties": False,
        },
        "annotations": {
            "title": "The sales.daily",
            "readOnlyHint": True,
            "destructiveHint": False,
            "idempotentHint": False,
            "openWorldHint": True,
        },
        "_meta": {"dagcall/dag_id": "sales.daily"},
    }


def test_default_annotations_promise_nothing() -> None:
    hints = wire_json(tool_from_dag(dag(), ToolPolicy(dag="d")).wire)["annotations"]

    assert (hints["readOnlyHint"], hints["destructiveHint"], hints["idempotentHint"], hints["openWorldHint"]) == (
        *(False, True),
        *(False, True),
    )


def test_hidden_characters_are_kept_only_in_enum_values() -> None:
    schema = {
        "enum": ["a\u200b"],
        "default": "a\u200b",
        "anyOf": [{"title": "x\u200b", "examples": ["b", "\u200b"]}, True],
        "$comment": "x\u200b",
    }
    wire = tool_from_dag(dag(params=[Param("p", "a\u200b", schema, None)]), ToolPolicy(dag="d")).wire

    assert wire.input_schema["properties"]["p"] == {
        "type": "string",
        "enum": ["a\u200b"],
        "anyOf": [{"title": "x", "type": "string"}, {"type": "string"}],
        "$comment": "x",
    }


def test_dagcalls_own_tools_require_a_run_id_and_a_tool() -> None:
    cancel, read, wait = (wire_json(tool) for tool in own_tools())

    assert (cancel["name"], cancel["annotations"]["destructiveHint"]) == ("cancel_dag_run", True)
    assert (read["name"], read["annotations"]["readOnlyHint"]) == ("read_dag_result", True)
    assert (wait["name"], wait["annotations"]["readOnlyHint"]) == ("wait_for_dag_run", False)
    assert cancel["inputSchema"] == wait["inputSchema"]
    assert wait["inputSchema"]["required"] == ["dag_run_id", "tool"]


def block(*lines: str) -> str:
    return "\n".join(["Adds up.", "", "```toml dagcall", *lines, "```"])


def test_authors_block_configures_the_tool_and_is_not_in_its_description() -> None:
    block_text = block(
        'title = "Sales"',
        'results = ["report"]',
        "annotations = { read_only = true }",
        "[output_schema]",
        'required = ["report"]',
    )
    tool = tool_from_dag(dag(doc_md=block_text), ToolPolicy(dag="d"))

    assert tool.left_out == ()
    assert (tool.wire.title, tool.wire.description) == ("Sales", f"Adds up.\n\n{HOW}")
    assert tool.wire.annotations is not None
    assert (tool.wire.annotations.title, tool.wire.annotations.read_only_hint) == ("Sales", True)
    assert (tool.wire.output_schema or {})["properties"]["results"]["required"] == ["report"]
    assert tool.policy.results == ("report",)
    assert tool.entry == ToolPolicy(dag="d")
    assert tool.output.problem({}) == "results: 'report' is a required property"


def test_invalid_block_is_ignored_completely_but_the_tool_is_published() -> None:
    tool = tool_from_dag(dag(doc_md=block('title = "Sales"', "readonly = true")), ToolPolicy(dag="d"))

    assert tool.wire == tool_from_dag(dag(doc_md="Adds up."), ToolPolicy(dag="d")).wire
    assert [(item.what, item.reason[:30]) for item in tool.left_out] == [
        ("the dagcall block in its doc_md", "line 5: 'readonly' is not a ke")
    ]


@pytest.mark.parametrize(
    ("entry", "what"),
    [({"output_schema": {"type": "array"}}, "its output_schema"), ({}, "its author's output_schema")],
)
def test_unpublishable_output_schema_is_ignored(entry: dict[str, Any], what: str) -> None:
    block_text = block('title = "Sales"', "[output_schema]", 'type = "string"')
    tool = tool_from_dag(dag(doc_md=block_text), ToolPolicy(dag="d", **entry))

    assert tool.wire.title == "Sales"
    assert "unexpected_results" not in (tool.wire.output_schema or {})["properties"]
    (left_out,) = tool.left_out
    assert left_out.what == what
    assert "so its type must be 'object'" in left_out.reason


def test_block_with_a_known_problem_is_ignored() -> None:
    tool = tool_from_dag(dag(doc_md=block('results = ["reprot"]')), ToolPolicy(dag="d"), refusal="no such task")

    assert tool.policy.results is None
    assert tool.left_out == (LeftOut("the dagcall block in its doc_md", "no such task"),)
