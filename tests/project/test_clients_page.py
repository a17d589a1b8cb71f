"""The findings behind docs/clients-tested.md are up to date; test_proof compares the page with them."""

from tests.clients.section import findings, still_passed
from tests.clients.table import trials
from tests.proof import record


def test_findings_are_for_the_current_clients_and_versions() -> None:
    found = record.read("clients")

    assert found is not None
    assert found["findings"] == findings(still_passed(found["findings"])), "the table has changed: make clients"


def test_earlier_results_count_while_the_table_is_unchanged() -> None:
    first, second, *_ = trials()
    before = findings({first.key, second.key})

    assert still_passed(before) == {first.key, second.key}

    before["clients"][0]["versions"] = {"mcp": "2.2.0"}
    assert still_passed(before) == set()
    assert still_passed(None) == set()
