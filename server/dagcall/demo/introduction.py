"""The text that the demo prints when it is ready, from plain values."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagcall.demo.examples import example_calls
from dagcall.demo.folder import Folder


def dagcall_config(airflow_url: str, password_file: Path) -> str:
    """Return the text of the demo's `dagcall.toml`."""
    return f"""\
# Written by `dagcall demo` at each start.

refresh_seconds = 5  # the default is 30; shorter here, so that new dags appear soon

[airflow]
url = {json.dumps(airflow_url)}
username = "agent"
password_file = {json.dumps(str(password_file), ensure_ascii=False)}

[[tools]]
tag = "mcp"
"""


def introduction(
    *,
    url: str,
    airflow_url: str,
    admin_password: str,
    folder: Folder,
    tools: list[dict[str, Any]],
    warnings: list[str],
    dagcall: list[str],
    is_on_path: bool,
) -> str:
    """Return everything that the user needs to know; it begins with the line `dagcall ready: <url>`.

    Args:
        url: the MCP endpoint.
        airflow_url: Airflow's user interface.
        admin_password: the password of its user `admin`.
        folder: the demo's folder.
        tools: the tools, as `dagcall tools --json` prints them.
        warnings: the import errors in the user's own dags.
        dagcall: the command line of dagcall, with absolute paths.
        is_on_path: whether the user's shells find `dagcall`.
    """
    setup = [f"export DAGCALL_CONFIG={shlex.quote(str(folder.config))}"]
    if not is_on_path:
        setup.append(f"alias dagcall={shlex.quote(shlex.join(dagcall))}")
    return "\n".join(
        [
            f"dagcall ready: {url}",
            "",
            f"Airflow    {airflow_url}  (user admin, password {admin_password})",
            f"Your dags  {folder.dags}  (a dag tagged `mcp` becomes a tool)",
            f"Logs       {folder.logs}",
            *[f"Warning    {warning}" for warning in warnings],
            "",
            f"{len(tools)} tools. Call them from another terminal:" if tools else "dagcall publishes no tools yet.",
            *indented(setup + example_calls(tools) if tools else []),
            "",
            "Claude Desktop: add to claude_desktop_config.json, then restart it:",
            desktop_snippet(dagcall, folder.config),
            "",
            "Ctrl-C stops everything; the next start takes seconds.",
        ]
    )


def indented(lines: list[str]) -> list[str]:
    """Return the lines, indented."""
    return [f"  {line}" for line in lines]


def desktop_snippet(dagcall: list[str], config: Path) -> str:
    """Return the configuration for Claude Desktop as JSON."""
    command, *arguments = dagcall
    server = {"command": command, "args": [*arguments, "serve", "--stdio", "--config", str(config)]}
    return json.dumps({"mcpServers": {"airflow": server}}, indent=2, ensure_ascii=False)


def dagcall_command(python: Path = Path(sys.executable)) -> list[str]:
    """Return the command line of dagcall with absolute paths."""
    script = python.parent / "dagcall"
    return [str(script)] if os.access(script, os.X_OK) else [str(python), "-m", "dagcall"]


def is_on_path(environ: Mapping[str, str], python: Path = Path(sys.executable)) -> bool:
    """Return whether the user's shells find `dagcall`.

    The folder of our own environment does not count if `uv run` or `uvx` added it to PATH.
    """
    runner = "UV" in environ or "VIRTUAL_ENV" in environ
    folders = environ.get("PATH", "").split(os.pathsep)
    others = [folder for folder in folders if not (runner and Path(folder) == python.parent)]
    return shutil.which("dagcall", path=os.pathsep.join(others)) is not None
