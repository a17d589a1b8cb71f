"""docs/proof.md says what the suites' last runs found."""

import pytest

from tests.faults import matrix
from tests.proof import page


@pytest.mark.parametrize("shown", page.PAGES, ids=lambda shown: shown.path.name)
def test_the_page_says_what_was_found(shown: page.Page) -> None:
    assert shown.path.read_text(encoding="utf-8") == page.render(shown), "write it anew: python -m tests.proof"


def test_the_page_of_faults_says_what_the_tests_do() -> None:
    assert matrix.PAGE.read_text(encoding="utf-8") == matrix.render(), "write it anew: python -m tests.faults.matrix"


def test_every_test_of_faults_says_what_it_does() -> None:
    assert [name for name, test in matrix.tests() if not list(matrix.rows_of(name, test))] == []
