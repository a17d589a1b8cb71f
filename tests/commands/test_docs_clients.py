"""Runs the programs, the curl command and the snippets of the documents against the demo."""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from dagcall.demo.installation import cache_folder, find_uv, install_uv
from dagcall.settings.settings import load_settings
from tests.support.clients import text_of
from tests.support.commands import clean_environ, run_dagcall
from tests.support.running_demo import RunningDemo

ROOT = Path(__file__).parents[2]
README, CLIENTS, RESULTS = (
    (ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/clients.md", "docs/results.md")
)
ADDRESS = "http://127.0.0.1:8000/mcp"
AIRFLOW_ADDRESS = "http://127.0.0.1:8080"
PROGRAM_SECONDS = 180.0
"""On the first run uv creates an environment for the program; later runs take 3 to 6 s."""


def blocks(page: str, language: str, containing: str = "") -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [block for block in found if containing in block]


PROGRAMS = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", CLIENTS, re.DOTALL | re.MULTILINE)
"""Each program with its output."""
SNIPPETS = [
    json.loads(block)["mcpServers"]["airflow"]
    for page in (README, CLIENTS)
    for block in blocks(page, "json", "mcpServers")
]


@pytest.fixture(scope="module")
def uv() -> str:
    """Return the path of uv; download uv if it is not installed."""
    environ = dict(os.environ)  # noqa: TID251 - a child process starts with its parent's environment
    cache = cache_folder(environ)
    cache.mkdir(parents=True, exist_ok=True)
    return find_uv(environ) or asyncio.run(install_uv(cache, environ, lambda _: None))


@pytest.mark.parametrize(("program", "printed"), PROGRAMS, ids=["pydantic-ai", "langchain", "mcp"])
def test_program_prints_the_documented_output(
    demo: RunningDemo, uv: str, tmp_path: Path, program: str, printed: str
) -> None:
    assert ADDRESS in program
    path = tmp_path / "program.py"
    path.write_text(program.replace(ADDRESS, demo.url), encoding="utf-8")

    finished = run([uv, "run", "--quiet", "--python", sys.executable, "--script", str(path)], demo.environ, tmp_path)

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == printed


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("revision", ["2026-07-28", "2025-11-25"])
def test_curl_command_gets_the_documented_answer(demo: RunningDemo, tmp_path: Path, revision: str) -> None:
    (command,) = blocks(CLIENTS, "sh")
    words = [word.replace(ADDRESS, demo.url) for word in shlex.split(command.replace("\\\n", " "))]
    if revision == "2025-11-25":
        words = as_in_2025(words)

    finished = run(words, demo.environ, tmp_path)

    body = finished.stdout.partition("data: ")[2] if revision == "2025-11-25" else finished.stdout
    content = json.loads(body)["result"]["structuredContent"]
    (shown,) = blocks(CLIENTS, "text", "structuredContent")
    row = json.loads(re.search(r'"score":\[({.*?})\]', shown.replace("\n", ""))[1])  # type: ignore[index]
    assert content == {
        "state": "success",
        "dag_run_id": content["dag_run_id"],
        "results": {"score": [row]},
        "url": f"{demo.airflow_url}/dags/score_many/runs/{content['dag_run_id']}",
    }


def as_in_2025(words: list[str]) -> list[str]:
    """Change the command as docs/clients.md describes for the older revision."""
    kept = ["curl", words[1], words[2]]
    for option, value in zip(words[3::2], words[4::2], strict=True):
        if value.startswith("MCP-Protocol-Version"):
            kept += [option, "MCP-Protocol-Version: 2025-11-25"]
        elif option == "-d":
            message = json.loads(value)
            del message["params"]["_meta"]
            kept += [option, json.dumps(message)]
        elif not value.startswith(("Mcp-Method", "Mcp-Name")):
            kept += [option, value]
    return kept


def test_call_command_prints_the_documented_summary(demo: RunningDemo) -> None:
    (shown,) = blocks(README, "console", "dagcall call summarize_text")
    command, _, answer = shown.removeprefix("$ ").partition("\n{")

    finished = run_dagcall(*shlex.split(command)[1:], environ=demo.environ)

    assert finished.returncode == 0, finished.stderr
    summary = json.loads(finished.stdout)["results"]["summarize"]["summary"]
    assert f'"summary": {json.dumps(summary)},' in answer


@pytest.mark.parametrize("page", [README, RESULTS], ids=["README", "results"])
def test_failure_report_matches_the_documents(demo: RunningDemo, page: str) -> None:
    (shown,) = blocks(page, "text", "of dag always_fails failed")
    shown_id, own_id = re.findall(r"mcp__\w+", shown)[0], re.compile(r"mcp__\w+")

    finished = run_dagcall("call", "always_fails", environ=demo.environ)

    assert finished.returncode == 1
    said = own_id.sub(shown_id, finished.stderr).replace(demo.airflow_url, AIRFLOW_ADDRESS)
    # The call may end before Airflow's scheduler has marked the run.
    said = said.replace("is about to end without its result.", "failed.")
    assert shown.rstrip().removesuffix("…") in said


@pytest.mark.parametrize("snippet", SNIPPETS, ids=["README", "file", "variables"])
async def test_claude_desktop_snippet_serves_tools_and_answers(
    demo: RunningDemo, tmp_path: Path, snippet: dict[str, Any]
) -> None:
    server = desktop_server(snippet, demo)

    with (tmp_path / "stderr").open("w") as errlog:
        async with Client(stdio_client(server, errlog=errlog), mode="legacy") as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            # A unique text, because an identical call could adopt another process's run.
            arguments = {"text": f"A snippet has {len(snippet)} keys. It works."}
            result = await client.call_tool("summarize_text", arguments)

    assert {"summarize_text", "sales_report", "wait_for_dag_run"} <= set(tools)
    assert not result.is_error, text_of(result)
    assert isinstance(result.structured_content, dict)
    assert result.structured_content["results"]["summarize"]["sentences_total"] == 2


def desktop_server(snippet: Mapping[str, Any], demo: RunningDemo) -> StdioServerParameters:
    """Return the server of a snippet, with the values that a user of this demo would fill in."""
    assert snippet["command"].endswith("/dagcall")
    airflow = load_settings(demo.config).airflow
    assert airflow.username is not None
    assert airflow.password_file is not None
    own_values = {
        AIRFLOW_ADDRESS: demo.airflow_url,
        "agent": airflow.username,
        "…": airflow.password_file.read_text().strip(),
        "/home/you/dagcall.toml": str(demo.config),
    }
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "dagcall", *(own_values.get(word, word) for word in snippet["args"])],
        env=clean_environ() | {name: own_values.get(value, value) for name, value in snippet.get("env", {}).items()},
    )


def run(words: list[str], environ: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - commands from the documents
        words, env=environ, cwd=folder, capture_output=True, text=True, check=False, timeout=PROGRAM_SECONDS
    )
