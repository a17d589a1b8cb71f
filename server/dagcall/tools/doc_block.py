"""The dag author's settings for the tool: a fenced block of TOML in `doc_md`.

Pure. The block's info string is `toml dagcall`; its keys are a subset of those of a `[[tools]]` entry. Airflow's UI
shows it as code, and its REST API returns it with the dag in every version:

    ```toml dagcall
    title = "Sales report"
    results = ["report"]
    annotations = { read_only = true }
    ```

The operator's settings override it, key by key. A block with a mistake is ignored entirely, because half of it could
mean something that its author did not intend; the tool itself is published all the same.
"""

import re
import tomllib
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dagcall.text import did_you_mean
from dagcall.tools.markdown import Fence, fences
from dagcall.tools.policy import Annotations, TaskIds, ToolPolicy

WORD = "dagcall"
"""The word after the opening fence that marks a block."""


class DocBlock(BaseModel):
    """The block. Each key means the same as in a `ToolPolicy`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str | None = None
    results: TaskIds | None = None
    annotations: Annotations = Annotations()
    output_schema: dict[str, Any] | None = None


NOTHING_SAID = DocBlock()


class WordsUnusable(ValueError):
    """The block contains a mistake; the message names the line of `doc_md` and the mistake."""


def doc_block(doc_md: str | None) -> DocBlock:
    """Read the author's block.

    Raises:
        WordsUnusable: the block cannot be used.
    """
    blocks = [fence for fence in fences(doc_md or "") if WORD in fence.words]
    if not blocks:
        return NOTHING_SAID
    if len(blocks) > 1:
        raise WordsUnusable(f"line {blocks[1].first_line - 1}: a second dagcall block; put everything into one")
    (block,) = blocks
    try:
        # Leading empty lines make the parser count lines of the whole text.
        return DocBlock.model_validate(tomllib.loads("\n" * (block.first_line - 1) + block.content))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise WordsUnusable(f"it is not valid TOML: {error}") from error
    except ValidationError as error:
        raise WordsUnusable("; ".join(_sentence(item, block) for item in error.errors(include_url=False))) from error


def effective_policy(operator: ToolPolicy, author: DocBlock) -> ToolPolicy:
    """Return the effective policy: the operator's values, and the author's where the operator sets none."""
    update = {key: value for key, value in author.model_dump().items() if getattr(operator, key) is None}
    return operator.model_copy(
        update={**update, "annotations": _effective_annotations(operator.annotations, author.annotations)}
    )


def _effective_annotations(operator: Annotations, author: Annotations) -> Annotations:
    overriding = operator.model_dump(exclude_unset=True)
    overridden = author.model_dump(exclude_unset=True)
    # read_only and destructive exclude each other, so the operator's value for one decides both.
    for one, other in (("read_only", "destructive"), ("destructive", "read_only")):
        if overriding.get(one):
            overridden.pop(other, None)
    return Annotations.model_validate(overridden | overriding)


def _sentence(error: Any, block: Fence) -> str:
    """Turn one pydantic error into a sentence that names the line."""
    keys = [part for part in error["loc"] if isinstance(part, str)]
    line = f"line {_line_of(keys, block)}"
    if error["type"] == "extra_forbidden":
        model = Annotations if keys[0] == "annotations" and len(keys) > 1 else DocBlock
        return f"{line}: {keys[-1]!r} is not a key of this block{did_you_mean(keys[-1], model.model_fields)}"
    return f"{line}: {'.'.join(keys)}: {error['msg'].removeprefix('Value error, ')}"


def _line_of(keys: list[str], block: Fence) -> int:
    """Return the line of a key, or of the key that contains it, or of the start of the block."""
    lines = block.content.splitlines()
    for key in reversed(keys):
        said = re.compile(rf"""[^=#]*(?<![\w-])["']?{re.escape(key)}["']?\s*[\]=.]""")
        for number, line in enumerate(lines, block.first_line):
            if said.match(line):
                return number
    return block.first_line
