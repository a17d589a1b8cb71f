"""`dagcall init` as somebody types it, until a desktop client's configuration starts a server that runs a dag."""

import json
import re
import stat
import sys
import tomllib
from pathlib import Path
from typing import Any

import pexpect
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.support.clients import text_of
from tests.support.commands import COMMAND_SECONDS, clean_environ, run_dagcall
from tests.support.demo_calls import FERRY
from tests.support.running_demo import RunningDemo

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
TRANSCRIPT = re.search(r"^```console\n\$ dagcall init\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
ENTER, LEFT_OUT = "⏎", "…"
"""In the transcript: what is before ENTER and after the prompt was typed."""


def home_of(tmp_path: Path) -> dict[str, str]:
    """Return the environment of somebody with Claude Desktop."""
    (tmp_path / ".config" / "Claude").mkdir(parents=True)
    plain = {"TTY_COMPATIBLE": "0", "COLUMNS": "500"}  # no colours, and no broken lines
    return clean_environ(HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path / ".config"), **plain)


def password_of(demo: RunningDemo) -> str:
    return (demo.folder / "airflow-agent-password").read_text().strip()


def typed_as_documented(demo: RunningDemo, environ: dict[str, str], folder: Path) -> str:
    """Type what the transcript says, and return everything that the terminal then shows."""
    assert TRANSCRIPT is not None
    child = pexpect.spawn(
        sys.executable,
        ["-m", "dagcall", "init"],
        cwd=str(folder),
        env=environ,
        encoding="utf-8",
        timeout=COMMAND_SECONDS,
        dimensions=(200, 500),
    )
    shown = ""
    for line in TRANSCRIPT[1].splitlines():
        if not line.endswith(ENTER):
            continue
        prompt, typed = split_prompt(line.replace("/home/you", str(folder)))
        child.expect_exact(prompt)
        shown += str(child.before) + prompt
        if prompt.startswith("Airflow's address"):
            typed = demo.airflow_url
        elif prompt.startswith("Password"):
            typed = password_of(demo)
        child.sendline(typed)
    child.expect(pexpect.EOF)
    shown += str(child.before)
    child.close()
    assert child.exitstatus == 0, shown
    return shown


def split_prompt(line: str) -> tuple[str, str]:
    """Return a line's prompt, and what was typed after it."""
    prompt, _, typed = line.removesuffix(ENTER).rpartition(": ")
    return f"{prompt}: ", typed


async def test_documented_session_ends_with_a_called_dag(demo: RunningDemo, tmp_path: Path) -> None:
    assert TRANSCRIPT is not None
    environ = home_of(tmp_path)
    shown = typed_as_documented(demo, environ, tmp_path)

    told = shown.replace(demo.airflow_url, "http://127.0.0.1:8080").replace(str(tmp_path), "/home/you")
    place = 0
    for line in TRANSCRIPT[1].splitlines():
        expected = split_prompt(line)[0] if line.endswith(ENTER) else line
        if expected != LEFT_OUT:
            assert expected in told[place:], f"{expected!r} is not in {told[place:]!r}"
            place = told.index(expected, place)
    assert password_of(demo) not in shown

    assert stat.S_IMODE((tmp_path / "airflow-password").stat().st_mode) == 0o600
    servers = json.loads((tmp_path / ".config/Claude/claude_desktop_config.json").read_text())["mcpServers"]
    server = StdioServerParameters(**servers["airflow"], env=clean_environ())
    async with Client(stdio_client(server)) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        answer = await client.call_tool("summarize_text", {"text": FERRY})
    assert "summarize_text" in names
    assert "sales_report" not in names
    assert not answer.is_error, text_of(answer)


def init(demo: RunningDemo, environ: dict[str, str], folder: Path, *more: str) -> Any:
    """Run it without a terminal, with all that it needs in options."""
    (folder / "secret").write_text(password_of(demo))
    words = ["--url", f"{demo.airflow_url}/home?x=1", "--username", "agent", "--password-file", "secret"]
    return run_dagcall("init", *words, *more, environ=environ, folder=folder)


def test_init_without_a_terminal_takes_options(demo: RunningDemo, tmp_path: Path) -> None:
    environ = home_of(tmp_path)
    cursor = tmp_path / ".cursor" / "mcp.json"
    cursor.parent.mkdir()
    cursor.write_text('{"mcpServers": {"files": {"command": "npx"}}}')

    tried = init(demo, environ, tmp_path, "--dags", "tag:mcp", "--client", "cursor", "--dry-run")
    assert tried.returncode == 0, tried.stderr
    assert f"+++ {cursor}" in tried.stdout
    assert "Nothing was written" in tried.stdout
    assert not (tmp_path / "dagcall.toml").exists()

    done = init(demo, environ, tmp_path, "--dags", "tag:mcp,factorial", "--client", "cursor", "--pin")
    assert done.returncode == 0, done.stderr
    settings = tomllib.loads((tmp_path / "dagcall.toml").read_text())
    assert settings["airflow"] == {
        "url": demo.airflow_url,
        "username": "agent",
        "password_file": str(tmp_path / "secret"),
    }
    assert settings["tools"] == [{"tag": "mcp"}, {"dag": "factorial"}]
    assert list(json.loads(cursor.read_text())["mcpServers"]) == ["files", "airflow"]
    assert (tmp_path / ".cursor" / "mcp.json.before-dagcall").exists()
    checked = run_dagcall("check", environ=environ, folder=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout

    again = init(demo, environ, tmp_path, "--dags", "tag:mcp")
    assert again.returncode == 2
    assert again.stderr.strip().endswith("dagcall.toml exists; edit it, or name another file with --config")


@pytest.mark.parametrize(
    ("more", "code", "sentence"),
    [
        ([], 2, "--dags is missing; in a terminal, dagcall init asks for it"),
        (["--dags", "sumarize_text"], 2, '--dags: this account sees no dag with dag = "sumarize_text"'),
        (["--dags", "tag:mcp", "--client", "emacs"], 2, "'emacs' is not one of"),
        (["--dags", "tag:mcp", "--username", "nobody"], 1, "did not log in user 'nobody'"),
    ],
)
def test_mistake_writes_nothing(demo: RunningDemo, tmp_path: Path, more: list[str], code: int, sentence: str) -> None:
    done = init(demo, home_of(tmp_path), tmp_path, *more)
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "dagcall.toml").exists()


def test_config_names_the_origin_of_each_setting(demo: RunningDemo) -> None:
    done = run_dagcall("config", "--json", environ={**demo.environ, "DAGCALL_SERVER_PORT": "8123"})
    assert done.returncode == 0, done.stderr
    found = {item["name"]: item for item in json.loads(done.stdout)}
    assert found["airflow.url"] == {
        "name": "airflow.url",
        "value": demo.airflow_url,
        "from": str(demo.config),
        "variable": "DAGCALL_AIRFLOW_URL",
    }
    assert (found["server.port"]["value"], found["server.port"]["from"]) == (8123, "DAGCALL_SERVER_PORT")
    assert found["server.host"]["from"] == "default"
    table = run_dagcall("config", environ=demo.environ)
    assert "airflow.username" in table.stdout


def test_runs_names_the_callers_of_the_latest_runs(demo: RunningDemo) -> None:
    assert run_dagcall("call", "factorial", "n=5", environ=demo.environ).returncode == 0
    assert run_dagcall("call", "always_fails", "message=no paper", environ=demo.environ).returncode == 1
    done = run_dagcall("runs", "--json", "--limit", "100", environ=demo.environ)
    assert done.returncode == 0, done.stderr
    newest: dict[str, Any] = {}
    for run in json.loads(done.stdout):
        newest.setdefault(run["tool"], run)
    assert {name: newest[name]["state"] for name in ("factorial", "always_fails")} == {
        "factorial": "success",
        "always_fails": "failed",
    }
    run = newest["factorial"]
    assert run["seconds"] > 0
    assert run["url"] == f"{demo.airflow_url}/dags/factorial/runs/{run['run_id']}"
    assert "mcp" in run["caller"]
    table = run_dagcall("runs", "factorial", environ=demo.environ)
    assert "success" in table.stdout
    assert "always_fails" not in table.stdout
