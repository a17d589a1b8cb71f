"""The generated pages match the findings and the tests they are generated from."""

import pytest

from tests.faults import matrix
from tests.proof import page


@pytest.mark.parametrize("shown", page.PAGES, ids=lambda shown: shown.path.name)
def test_page_matches_the_findings(shown: page.Page) -> None:
    assert shown.path.read_text(encoding="utf-8") == page.render(shown), "rewrite it with: python -m tests.proof"


def test_fault_matrix_matches_the_tests() -> None:
    assert matrix.PAGE.read_text(encoding="utf-8") == matrix.render(), "rewrite it with: python -m tests.faults.matrix"


def test_every_fault_test_has_a_row() -> None:
    assert [name for name, test in matrix.tests() if not list(matrix.rows_of(name, test))] == []
