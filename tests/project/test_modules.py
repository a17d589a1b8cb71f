"""Rules about the modules that no linter checks."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "server" / "dagcall"
MOST_LINES = 400


def test_long_modules_say_why() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > MOST_LINES:
            assert "long" in (ast.get_docstring(ast.parse(text)) or "").lower(), path
