"""docs/clients.md says what the last whole run of the clients found; test_proof holds the page to these findings."""

from tests.clients.section import findings
from tests.proof import record


def test_the_last_run_was_of_these_clients_and_versions() -> None:
    found = record.read("clients")

    assert found is not None
    assert found["findings"] == findings(), "the table of clients has changed: make clients"
