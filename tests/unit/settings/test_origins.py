"""Where the value of each setting comes from; and no secret is shown."""

from pathlib import Path

import pytest

from dagcall.settings.origins import MASKED, Origin, Setting, settings_with_origins
from dagcall.settings.settings import load_settings, variable_names

FILE = """
pins = "tool_schemas"
[airflow]
url = "https://airflow.example"
username = "agent"
password = "hunter2"
[[tools]]
dag = "a"
hidden = ["y", "x"]
annotations = { read_only = true, destructive = false }
[[tools]]
tag = "mcp"
[[accounts]]
callers = ["key:ann"]
token_command = "print-token --secret hunter2"
[[accounts]]
callers = ["*"]
token = "hunter2"
"""


def origins(path: Path | None, **environ: str) -> dict[str, Setting]:
    found = settings_with_origins(load_settings(path), path, environ)
    assert "hunter2" not in repr(found)
    return {setting.name: setting for setting in found}


def test_every_setting_has_a_value_and_an_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dagcall.toml"
    path.write_text(FILE, encoding="utf-8")
    monkeypatch.setenv("DAGCALL_AIRFLOW_USERNAME", "robot")

    found = origins(path, DAGCALL_AIRFLOW_USERNAME="robot")

    assert found["airflow.url"] == Setting("airflow.url", "https://airflow.example", Origin.FILE, "DAGCALL_AIRFLOW_URL")
    assert (found["airflow.username"].value, found["airflow.username"].origin) == ("robot", Origin.VARIABLE)
    assert (found["airflow.password"].value, found["airflow.password"].origin) == (MASKED, Origin.FILE)
    assert (found["server.port"].value, found["server.port"].origin) == (8000, Origin.DEFAULT)
    assert found["pins"].value == str(tmp_path / "tool_schemas")
    assert found["server.allowed_hosts"].value == []
    assert (found["tools[0].hidden"].value, found["tools[0].hidden"].variable) == (["x", "y"], None)
    assert found["tools[0].annotations"].value == {"destructive": False, "read_only": True}
    assert found["tools[1].tag"].value == "mcp"
    assert "tools[1].dag" not in found
    assert found["accounts[0].token_command"].value == MASKED
    assert found["accounts[1].token"].value == MASKED
    assert {setting.variable for setting in found.values()} >= set(variable_names()) - {"DAGCALL_CONFIG"}


def test_settings_without_a_file_come_from_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGCALL_DAGS", "a,tag:mcp")

    found = origins(None, DAGCALL_DAGS="a,tag:mcp")

    assert (found["dags"].value, found["dags"].origin) == (["a", "tag:mcp"], Origin.VARIABLE)
    assert {setting.origin for setting in found.values()} == {Origin.VARIABLE, Origin.DEFAULT}
