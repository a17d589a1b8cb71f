"""SECURITY.md promises nothing without a test."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_every_test_that_it_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert named
    missing = [
        f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert missing == []


def test_every_threat_names_its_test() -> None:
    (table,) = re.findall(r"## Threats\n.*?(\| Threat .*?)\n\n", PAGE, flags=re.DOTALL)
    rows = table.splitlines()[2:]
    assert rows
    assert [row for row in rows if "::test_" not in row.split(" | ")[-1]] == []
