"""The kinds of JSON values."""

from typing import Any

import pytest

from dagcall.tools.keywords import kind_of


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (True, "boolean"),
        (3, "integer"),
        (3.0, "integer"),
        (3.5, "number"),
        ("3", "string"),
        ([], "array"),
        ({}, "object"),
    ],
)
def test_value_has_one_kind(value: Any, kind: str) -> None:
    assert kind_of(value) == kind
