"""docs/clients-tested.md says what the clients last did; test_proof holds the page to these findings."""

from tests.clients.section import findings, still_passed
from tests.clients.table import trials
from tests.proof import record


def test_the_last_run_was_of_these_clients_and_versions() -> None:
    found = record.read("clients")

    assert found is not None
    assert found["findings"] == findings(still_passed(found["findings"])), "the table has changed: make clients"


def test_what_an_earlier_run_passed_counts_as_long_as_the_table_says_the_same() -> None:
    first, second, *_ = trials()
    before = findings({first.key, second.key})

    assert still_passed(before) == {first.key, second.key}

    before["clients"][0]["versions"] = {"mcp": "2.2.0"}
    assert still_passed(before) == set()
    assert still_passed(None) == set()
