"""Third-party probes for MCP servers, each run in its own environment."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.conformance.serving import Serving, serving_with_log_in
from tests.support.commands import clean_environ

PROBE_SECONDS = 280.0
CALL_SECONDS = "120"
"""The timeout of a probe's calls."""
CALLED = (
    *("test_simple_text", "test_error_handling", "test_tool_with_progress", "json_schema_2020_12_tool"),
    *("greet", "slow_compute"),
)
"""The tools that the probes call; the others wait for people."""


class Verdict(NamedTuple):
    """The result of a probe."""

    failed: list[str]
    """The failures it reports."""
    summary: str


class Probe(NamedTuple):
    """A probe."""

    name: str
    """The name of its requirement file: package and version."""
    looks_at: str
    run: Callable[[Path, Serving], Verdict]
    """A function of the folder of its programs, and the servers to probe."""


def amagi(programs: Path, served: Serving) -> Verdict:
    only = [word for tool in CALLED for word in ("--only", tool)]
    words = ["--url", served.http, "--format", "json", "--allow-destructive", "--timeout", CALL_SECONDS, *only]
    (server,) = _said(programs / "amagi-mcp-probe", *words)["servers"]
    bad = [tool["name"] for tool in server["tools"] if tool["status"] == "fail"]
    counts = server["counts"]
    # It warns about a tool that answers with an error; one of the tools does this on purpose.
    assert [tool["name"] for tool in server["tools"] if tool["status"] == "warn"] == ["test_error_handling"]
    return Verdict([*bad, *map(str, server["findings"])], f"pass: {counts['pass'] + counts['warn']} tools called")


def conform(programs: Path, served: Serving) -> Verdict:
    words = ["--transport", "stdio", "--timeout", CALL_SECONDS, "--command", _command(served), "--format", "json"]
    said = _said(programs / "mcp-conform", "server", *words)
    bad = [f"{check['name']}: {check['message']}" for check in said["checks"] if not check["passed"]]
    return Verdict([*bad, *filter(None, [said["fatal_error"]])], f"{said['passed']} of {said['total']} checks passed")


def halflist(programs: Path, served: Serving) -> Verdict:
    words = ["--stdio", _command(served), "--format", "json", "--timeout", CALL_SECONDS]
    said = _said(programs / "halflist", "check", *words)
    checks = [check for suite in said["suites"] for check in suite["checks"]]
    bad = [f"{check['name']}: {check['message']}" for check in checks if check["status"] == "FAIL"]
    warned = ", ".join(check["message"] for check in checks if check["status"] == "WARN")
    return Verdict(bad, f"{said['total_passed']} passed, score {said['score']}; it warned of: {warned}")


def authlab(programs: Path, served: Serving) -> Verdict:
    with serving_with_log_in(served.settings) as (url, token, foreign):
        words = ["--token", token, "--foreign-token", foreign, "--no-login", "--format", "json", url]
        said = _said(programs / "mcp-authlab", "scan", *words)
    results, counts = said["results"], said["counts"]
    bad = [f"{result['id']}: {result['message']}" for result in results if result["status"] in {"fail", "error"}]
    warned = ", ".join(f"{result['id']} ({result['title']})" for result in results if result["status"] == "warn")
    return Verdict(bad, f"grade {said['grade']}, {counts['pass']} passed; it warned of: {warned}")


PROBES = (
    Probe("amagi-mcp-probe-0.1.0", "schemas of all tools, and calls of six of them, over HTTP", amagi),
    Probe("mcp-conform-0.1.0", "messages and schemas, on stdio", conform),
    Probe("mcp-halflist-1.0.0", "handshake, schemas, hidden instructions in texts, on stdio", halflist),
    Probe(
        "mcp-authlab-0.2.2",
        "whose tokens are taken and whose refused, over HTTP without TLS, with a test's authorization server",
        authlab,
    ),
)


def _command(served: Serving) -> str:
    """Return the command of a stdio server; some clients do not pass their environment on."""
    return f"{sys.executable} -m dagcall serve --stdio --config {served.settings}"


def _said(*words: object) -> Mapping[str, Any]:
    """Return a probe's JSON output; its exit code adds nothing."""
    ended = subprocess.run(  # noqa: S603 - a locked package's program
        [str(word) for word in words],
        env=clean_environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PROBE_SECONDS,
    )
    assert ended.stdout.startswith("{"), ended.stdout + ended.stderr
    return dict(json.loads(ended.stdout))
