"""Rules about the modules that no linter checks."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "server" / "dagcall"
MOST_LINES = 400


def test_long_modules_say_why() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    long = {path: ast.get_docstring(ast.parse(text)) or "" for path, text in texts.items() if lines(text) > MOST_LINES}
    assert [path for path, says in long.items() if "long" not in says.lower()] == []


def lines(text: str) -> int:
    return text.count("\n")
