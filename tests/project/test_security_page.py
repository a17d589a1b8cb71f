"""Every threat in SECURITY.md has a test that runs."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_named_tests_run_with_make_test() -> None:
    """Collect as `make test` does, so that skipped, renamed and deselected tests are missing."""
    named = set(re.findall(r"`(tests/[\w/]+\.py::\w+)`", PAGE))
    assert named
    files = sorted({node.partition("::")[0] for node in named})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    collected = subprocess.run(  # noqa: S603 - our own tests
        [*command, *files], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    there = {line.partition("[")[0] for line in collected.splitlines() if "::" in line}
    assert named - there == set()
    skipped = [
        node
        for node in named
        if re.search(
            rf"@pytest\.mark\.skip[^\n]*\n(@[^\n]*\n)*(async )?def {node.partition('::')[2]}\(", source_of(node)
        )
    ]
    assert skipped == []


def source_of(node: str) -> str:
    return (ROOT / node.partition("::")[0]).read_text(encoding="utf-8")


def test_every_threat_names_its_test() -> None:
    (table,) = re.findall(r"## Threats\n.*?(\| Threat .*?)\n\n", PAGE, flags=re.DOTALL)
    rows = table.splitlines()[2:]
    assert rows
    assert [row for row in rows if "::test_" not in row.split(" | ")[-1]] == []
