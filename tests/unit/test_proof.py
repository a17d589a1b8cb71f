"""docs/proof.md says what the suites' last runs found."""

from tests.faults import matrix
from tests.proof import page


def test_the_page_says_what_was_found() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.render(), "write it anew: python -m tests.proof"


def test_the_page_of_faults_says_what_the_tests_do() -> None:
    assert matrix.PAGE.read_text(encoding="utf-8") == matrix.render(), "write it anew: python -m tests.faults.matrix"


def test_every_test_of_faults_says_what_it_does() -> None:
    assert [name for name, test in matrix.tests() if not list(matrix.rows_of(name, test))] == []
