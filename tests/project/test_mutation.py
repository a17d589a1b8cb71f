"""How mutation testing counts; `make mutate` runs it."""

from collections import Counter
from pathlib import Path

import dagcall
from tests.mutation.equivalents import EQUIVALENTS
from tests.mutation.modules import GROUPS, MODULES
from tests.mutation.section import section

COUNTS = {"mutants": 12, "killed": 9, "timed_out": 1, "equivalent": 2, "survived": 1, "date": "2026-11-28"}


def test_mutated_modules_and_their_tests_exist() -> None:
    package = Path(dagcall.__file__).parent
    assert len(MODULES) == sum(map(len, GROUPS.values()))
    assert [module for module in MODULES if not (package / f"{module.replace('.', '/')}.py").exists()] == []
    files = {name for names in MODULES.values() for name in names}
    assert [name for name in files if not (Path(__file__).parents[1] / "unit" / f"{name}.py").exists()] == []


def test_equivalent_mutants_are_unique_and_have_a_reason() -> None:
    assert [found for found in EQUIVALENTS if not found.because.endswith(".") or found.before == found.after] == []
    twice = Counter((found.where, found.before, found.after) for found in EQUIVALENTS)
    assert [found for found, number in twice.items() if number > 1] == []


def test_equivalent_mutants_are_excluded_and_unmeasured_modules_named() -> None:
    text = section({"modules": {"runs.ledger": COUNTS, "tools.naming": COUNTS | {"killed": 10, "survived": 0}}})

    assert "| runs | 1 | 12 | 9 | 1 | 2 | 1 | 90.0 |" in text
    assert "| tools | `tools.naming` | 12 | 10 | 1 | 2 | 0 | 100.0 | 2026-11-28 |" in text
    assert "Not measured: `runs.call`, " in text
    assert "`runs.ledger`, " not in text.partition("Not measured")[2]
