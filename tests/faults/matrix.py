"""Generates `docs/faults.md`: the injected faults, what callers see, and what the tests check.

Every test in this folder is decorated with `fault`, or has parametrized cases marked with it. A unit test checks that
the page is up to date and that each test has a row. `python -m tests.faults.matrix` rewrites the page.
"""

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

import pytest

from tests.proof.markdown import table

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
HEAD = """\
# What happens when …

Each row is a test that runs in `make test` (those of `make overload` are marked), against a real Airflow on a real
PostgreSQL, through a proxy that loses, delays and replaces requests and answers. This page is generated from the tests.
"""
OF_MAKE_OVERLOAD = " (`make overload`)"
RESULT = "the result"
ONE_RUN = "one run in Airflow; the answer is its result"


@dataclass(frozen=True)
class Row:
    """One fault."""

    injected: str
    seen: str
    checked: str
    test: str
    """`test_file.py::test_name`."""


def fault(injected: str, *, seen: str = RESULT, checked: str = ONE_RUN) -> pytest.MarkDecorator:
    """Mark a test, or a case of it, with the injected fault, what the caller sees, and what is checked."""
    return pytest.mark.fault(injected=injected, seen=seen, checked=checked)


def tests() -> Iterator[tuple[str, FunctionType]]:
    """Yield each test of this folder with its name, file by file."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.faults.{path.stem}")
        for name, function in vars(module).items():
            if name.startswith("test_") and inspect.isfunction(function) and function.__module__ == module.__name__:
                yield f"{path.name}::{name}", function


def rows_of(name: str, test: FunctionType) -> Iterator[Row]:
    """Yield a test's rows: from its own marks first, then from those of its cases."""
    marks: list[pytest.Mark] = list(getattr(test, "pytestmark", []))
    where = OF_MAKE_OVERLOAD if any(mark.name == "overload" for mark in marks) else ""
    cases = [case for mark in marks if mark.name == "parametrize" for case in mark.args[1] if hasattr(case, "marks")]
    for mark in [*marks, *(mark for case in cases for mark in case.marks)]:
        if mark.name == "fault":
            yield Row(mark.kwargs["injected"] + where, mark.kwargs["seen"], mark.kwargs["checked"], name)


def link(test: str) -> str:
    """Return a Markdown link to a test."""
    file, name = test.split("::")
    return f"[`{name}`](../tests/faults/{file})"


def render() -> str:
    """Return the page."""
    rows = [row for name, test in tests() for row in rows_of(name, test)]
    cells = [(row.injected, row.seen, row.checked, link(row.test)) for row in rows]
    columns = ("injected fault", "what the caller sees", "what is checked", "test")
    return f"{HEAD}\n{len(cells)} rows.\n\n{table(columns, cells)}\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
