"""The MCPB bundle: its content, and the server that a desktop client starts from it."""

import json
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.packaging.conftest import Built
from tests.packaging.packages import ROOT, build_bundle
from tests.packaging.tools import Tools, own_environ

FORM = {"dags": "add", "airflow_username": "admin", "airflow_password": "admin"}
"""What a person fills in, apart from the address; `airflow_token` stays empty."""


@pytest.fixture(scope="module")
def bundle(built: Built, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an unpacked bundle, which `mcpb validate` and `mcpb pack` have accepted."""
    folder = tmp_path_factory.mktemp("bundle")
    path = build_bundle(built.wheel, folder, tools)
    tools.run_node("mcpb", "unpack", path, folder / "unpacked")
    with zipfile.ZipFile(path) as file:
        assert set(file.namelist()) == {
            "LICENSE",
            "icon.png",
            "main.py",
            "manifest.json",
            "pyproject.toml",
            "uv.lock",
            built.wheel.name,
        }
    return folder / "unpacked"


def test_bundle_has_the_locked_packages(bundle: Path) -> None:
    def versions(lock: Path) -> dict[str, str]:
        return {each["name"]: each["version"] for each in tomllib.loads(lock.read_text())["package"]}

    bundled = versions(bundle / "uv.lock")
    del bundled["dagcall-bundle"]
    assert bundled.items() <= versions(ROOT / "uv.lock").items()
    assert {"mcp", "httpx", "pydantic"} <= bundled.keys()


def test_empty_required_field_starts_nothing(bundle: Path, tools: Tools) -> None:
    assert command_of(bundle, tools, {"airflow_url": "http://127.0.0.1:8080"}) is None


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_client_calls_a_dag_through_the_bundle(
    bundle: Path, tools: Tools, airflow_url: str, tmp_path: Path, mode: Any
) -> None:
    command = command_of(bundle, tools, {**FORM, "airflow_url": airflow_url})
    # The client's uv brings Python.
    environ = own_environ(PATH=f"{Path(tools.uv).parent}:/bin", UV_PYTHON=sys.executable, **command["env"])
    server = StdioServerParameters(command=command["command"], args=command["args"], env=environ, cwd="/")
    with (tmp_path / "errors").open("w") as errors:
        async with Client(stdio_client(server, errlog=errors), mode=mode) as client:
            listed = [tool.name for tool in (await client.list_tools()).tools]
            result = await client.call_tool("add", {"x": 41})
    assert "add" in listed
    assert result.structured_content is not None
    assert result.structured_content["results"] == {"one": 42}
    log = (tmp_path / "errors").read_text().splitlines()
    assert [line for line in log if " INFO dagcall." not in line] == []


def command_of(bundle: Path, tools: Tools, form: dict[str, str]) -> Any:
    """Return the command that a client starts, made by the client's own library; None if it does not start one."""
    return json.loads(tools.run_node("desktop_command.mjs", bundle, json.dumps(form)))
