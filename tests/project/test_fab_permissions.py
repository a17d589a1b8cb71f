"""The documented permissions are those of the roles that `tests/auth_managers` uses."""

import re
from pathlib import Path

from tests.auth_managers.fab import FOR_MANY_DAGS, FOR_PEOPLE, SMALLEST, on_dags

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "authentication.md"


def test_documentation_lists_the_smallest_permissions() -> None:
    rows = re.findall(r"^\| (`can_.*?) \| `(.*?)`.*? \| .* \|$", DOCUMENTATION.read_text(), re.MULTILINE)
    listed = {(action, on) for actions, on in rows for action in re.findall(r"`(\w+)`", actions)}
    assert listed == {*SMALLEST, *FOR_PEOPLE, *FOR_MANY_DAGS, *on_dags("<dag id>")}
