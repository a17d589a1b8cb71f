"""docs/proof.md says what the suites' last runs found."""

from tests.proof import page


def test_the_page_says_what_was_found() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.render(), "write it anew: python -m tests.proof"
