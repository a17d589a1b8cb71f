"""What changed between two versions of the settings, and what of it applies without a restart."""

from typing import Any

import pytest

from dagcall.settings import Settings
from dagcall.settings.changes import RELOADED, Changes, changes_between


@pytest.mark.parametrize(
    ("after", "changes"),
    [
        ({}, Changes((), ())),
        ({"dags": ["b"]}, Changes(("dags",), ())),
        ({"tools": [{"dag": "a", "wait_seconds": 3}]}, Changes(("tools",), ())),
        ({"limits": {"max_concurrent": 2}}, Changes(("limits.max_concurrent",), ())),
        ({"auth": {"callers": ["key:ci"]}}, Changes(("auth.callers",), ())),
        ({"log": {"level": "debug", "format": "json"}}, Changes(("log.level",), ("log.format",))),
        ({"server": {"secret": "s"}, "pins": "p"}, Changes(("pins",), ("server.secret",))),
        ({"airflow": {"url": "http://other"}}, Changes((), ("airflow.url",))),
        (
            {"accounts": [{"callers": ["*"], "is_own": True}], "refresh_seconds": 5},
            Changes(("refresh_seconds",), ("accounts",)),
        ),
    ],
)
def test_changes_are_named(after: dict[str, Any], changes: Changes) -> None:
    assert changes_between(Settings(), Settings.model_validate(after)) == changes


def test_reloaded_settings_exist() -> None:
    tables = {name.partition(".")[0] for name in RELOADED}
    assert tables <= Settings.model_fields.keys()
