"""The author's block in `doc_md`: its keys, the mistakes that are reported, and what the operator overrides."""

from typing import Any

import pytest

from dagcall.tools.doc_block import NOTHING_SAID, DocBlock, WordsUnusable, doc_block, effective_policy
from dagcall.tools.policy import Annotations, ToolPolicy


def doc_md(*lines: str, info: str = "toml dagcall") -> str:
    """Return a text whose block starts on line 4."""
    return "\n".join(["Adds up.", "", f"```{info}", *lines, "```", "", "More."])


def test_every_key_of_the_block_is_read() -> None:
    parsed = doc_block(
        doc_md(
            'title = "Sales report"',
            'results = ["report"]',
            "annotations = { read_only = true }",
            "[output_schema.properties.report]",
            'type = "object"',
        )
    )

    assert parsed == DocBlock(
        title="Sales report",
        results=("report",),
        annotations=Annotations(read_only=True),
        output_schema={"properties": {"report": {"type": "object"}}},
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="no doc_md"),
        pytest.param("Adds up.", id="no block"),
        pytest.param(doc_md('title = "x"', info="toml"), id="a block of something else"),
        pytest.param(doc_md(), id="an empty block"),
    ],
)
def test_missing_or_empty_block_sets_nothing(text: str | None) -> None:
    assert doc_block(text) == NOTHING_SAID


@pytest.mark.parametrize("info", ["toml dagcall", "dagcall"])
def test_block_may_be_marked_in_two_ways(info: str) -> None:
    assert doc_block(doc_md('title = "x"', info=info)).title == "x"


def test_block_in_an_indented_docstring_is_read() -> None:
    text = 'Adds up.\n\n    ```toml dagcall\n    title = "x"\n    ```\n    '

    assert doc_block(text).title == "x"


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        pytest.param(
            ['title = "x"', 'resluts = ["t"]'],
            "line 5: 'resluts' is not a key of this block; did you mean 'results'?",
            id="unknown key",
        ),
        pytest.param(
            ["wait_seconds = 5"],
            "line 4: 'wait_seconds' is not a key of this block; there are title, results, annotations, output_schema",
            id="a key of the operator's",
        ),
        pytest.param(
            ["", "[annotations]", "readonly = true"],
            "line 6: 'readonly' is not a key of this block; did you mean 'read_only'?",
            id="unknown annotation",
        ),
        pytest.param(
            ["annotations = { readonly = true }"],
            "line 4: 'readonly' is not a key of this block; did you mean 'read_only'?",
            id="unknown annotation on one line",
        ),
        pytest.param(
            ["annotations = { read_only = true, destructive = true }"],
            "line 4: annotations: read_only and destructive contradict each other",
            id="contradiction",
        ),
        pytest.param(
            ["annotations = { read_only = 3 }"],
            "line 4: annotations.read_only: Input should be a valid boolean",
            id="an annotation of another type",
        ),
        pytest.param(['results = ["t", "t"]'], "line 4: results: names a task twice", id="twice"),
        pytest.param(
            ["", "title = 3", 'results = "t"'],
            "line 5: title: Input should be a valid string; line 6: results: Input should be a valid tuple",
            id="several",
        ),
        pytest.param(["", "title = sales"], "it is not valid TOML: Invalid value (at line 5, column 9)", id="not TOML"),
        pytest.param(
            [f"results = {'[' * 500}"],
            "it is not valid TOML: maximum recursion depth exceeded",
            id="nested too deep",
        ),
        pytest.param(
            ['"a\\tb" = 1'],
            "line 4: 'a\\tb' is not a key of this block; there are title, results, annotations, output_schema",
            id="a key with an escape",
        ),
        pytest.param(
            ['title = "x"', "```", "", "```dagcall"],
            "line 7: a second dagcall block; put everything into one",
            id="two blocks",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_line(lines: list[str], sentence: str) -> None:
    with pytest.raises(WordsUnusable) as refusal:
        doc_block(doc_md(*lines))

    assert str(refusal.value).startswith(sentence)


def test_operator_overrides_the_author_key_by_key() -> None:
    author = DocBlock(title="Theirs", results=("t",), output_schema={"required": ["t"]})
    operator = ToolPolicy(dag="d", title="Ours", wait_seconds=5)

    assert effective_policy(operator, author) == ToolPolicy(
        dag="d", title="Ours", wait_seconds=5, results=("t",), output_schema={"required": ["t"]}
    )


@pytest.mark.parametrize(
    ("operator", "author", "effective"),
    [
        ({}, {}, {}),
        ({}, {"read_only": True, "idempotent": True}, {"read_only": True, "idempotent": True}),
        ({"idempotent": False}, {"idempotent": True, "open_world": False}, {"open_world": False}),
        ({"destructive": True}, {"read_only": True}, {}),
        ({"read_only": True}, {}, {"read_only": True}),
        ({"read_only": True}, {"destructive": True}, {"read_only": True}),
        ({"destructive": False}, {"read_only": True}, {"read_only": True, "destructive": False}),
    ],
)
def test_operator_overrides_the_author_hint_by_hint(
    operator: dict[str, Any], author: dict[str, Any], effective: dict[str, Any]
) -> None:
    policy = effective_policy(
        ToolPolicy(dag="d", annotations=Annotations(**operator)), DocBlock(annotations=Annotations(**author))
    )

    assert policy.annotations == Annotations(**effective)
