"""Two callers of one `dagcall serve`: each sees and starts its own tools and cannot reach the other's runs."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from dagcall.auth.keys import entry_of, new_key
from tests.fake_airflow import FakeAirflow, FakeDag, FakeTask
from tests.fake_airflow.access import FakeUser
from tests.fake_airflow.serving import WallClock, served
from tests.support.commands import run_dagcall
from tests.support.plain_http import PLAIN
from tests.support.serving_process import (
    LEGACY,
    MODERN,
    HttpServer,
    Message,
    environ_for,
    headers,
    http_server,
    request,
)

CI, ANN, IDLE = new_key(), new_key(), new_key()
EXTENSION = "io.modelcontextprotocol/tasks"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OWN_TOOLS = ["cancel_dag_run", "read_dag_result", "wait_for_dag_run"]
SETTINGS = """
[auth]
keys_file = "keys.toml"

[audit]
file = "audit.jsonl"

[[accounts]]
callers = ["key:ci"]
username = "clerk"
password_file = "clerk"

[[accounts]]
callers = ["group:finance"]
username = "viewer"
password_file = "viewer"

[[accounts]]
callers = ["key:idle"]
is_own = true

[[tools]]
dag = "build"
callers = ["scope:dags.run"]
identity_param = "requested_by"

[[tools]]
dag = "payroll"
callers = ["group:finance"]

[[tools]]
dag = "report"
"""

revisions = pytest.mark.parametrize("revision", [MODERN, LEGACY])


@dataclass
class Site:
    """An Airflow and a dagcall in front of it."""

    airflow: FakeAirflow
    server: HttpServer
    folder: Path
    environ: dict[str, str]
    """The environment in which a command finds this site's settings."""

    @contextmanager
    def stream(self, key: str, revision: str, message: Message, **more: str) -> Iterator[Iterator[Message]]:
        sent = headers(revision, message) | {"Authorization": f"Bearer {key}"} | more
        for name in ("uri", "taskId"):
            if revision == MODERN and name in message["params"]:
                sent["Mcp-Name"] = message["params"][name]
        with httpx.stream(
            "POST", self.server.url, json=message, headers=sent, timeout=60, trust_env=False, verify=PLAIN
        ) as response:
            if response.headers["content-type"].startswith("application/json"):
                yield iter([json.loads(response.read())])
            else:
                lines = response.iter_lines()
                yield (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {"))

    def ask(
        self, key: str, revision: str, method: str, *, meta: Mapping[str, Any] | None = None, **params: Any
    ) -> Message:
        """Send one request as a caller and return its answer."""
        message = request(revision, 7, method, params)
        message["params"]["_meta"] |= meta or {}
        with self.stream(key, revision, message) as messages:
            *_, last = messages
            return last

    def call(self, key: str, revision: str, tool: str, /, *, wait_seconds: float = 30, **arguments: Any) -> Message:
        meta = {"dagcall/wait_seconds": wait_seconds}
        return self.ask(key, revision, "tools/call", name=tool, arguments=arguments, meta=meta)

    def start(self, key: str, revision: str, tool: str) -> str:
        """Start a run that does not end, and return its run id."""
        answer = self.call(key, revision, tool, wait_seconds=0)
        return str(answer["result"]["structuredContent"]["dag_run_id"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    entries = [entry_of(CI, "ci", scopes=["dags.run"]), entry_of(ANN, "ann", groups=["finance"])]
    entries.append(entry_of(IDLE, "idle"))
    (folder / "keys.toml").write_text("\n".join(entries), encoding="utf-8")
    (folder / "clerk").write_text("clerk-password", encoding="utf-8")
    (folder / "viewer").write_text("viewer", encoding="utf-8")
    (folder / "dagcall.toml").write_text(SETTINGS, encoding="utf-8")
    airflow = FakeAirflow(clock=WallClock())
    airflow.access.users["clerk"] = FakeUser("clerk", "clerk-password")
    for dag in dags():
        airflow.add_dag(dag)
    settings = environ_for("", DAGCALL_CONFIG=str(folder / "dagcall.toml"), DAGCALL_DAGS="")
    with served(airflow) as url, http_server(environ := settings | {"DAGCALL_AIRFLOW_URL": url}) as server:
        yield Site(airflow, server, folder, environ)
        code, errors = server.stop()
        assert code == 0
        assert "Traceback" not in errors


def dags(description: str = "As it was.") -> Iterator[FakeDag]:
    for name, params in (("build", {"requested_by": "nobody"}), ("payroll", {}), ("report", {})):
        yield FakeDag(name, params=params, tasks=[FakeTask("it", lambda _: 1)], checks=None, description=description)


@revisions
def test_each_caller_sees_its_own_tools(site: Site, revision: str) -> None:
    seen = {
        key: [tool["name"] for tool in site.ask(key, revision, "tools/list")["result"]["tools"]] for key in (CI, ANN)
    }

    assert seen[CI] == ["build", "report", *seen[CI][2:]]
    assert seen[ANN] == ["payroll", "report", *seen[ANN][2:]]
    assert sorted(seen[CI][2:]) == sorted(seen[ANN][2:]) == OWN_TOOLS


@revisions
@pytest.mark.parametrize("way", ["call", *OWN_TOOLS, "resource", "tasks/get", "tasks/cancel"])
def test_hidden_tool_is_reported_as_unknown(site: Site, revision: str, way: str) -> None:
    """The answers are identical except for the names, which have the same length because of the suggestions."""
    run_id = site.start(CI, revision, "report")

    def answer(tool: str) -> Message:
        meta: Message = {"io.modelcontextprotocol/clientCapabilities": {"extensions": {EXTENSION: {}}}}
        if way == "call":
            found = site.call(CI, revision, tool)
        elif way == "resource":
            found = site.ask(CI, revision, "resources/read", uri=f"dagcall://runs/{tool}/{run_id}/results")
        elif way.startswith("tasks/"):
            found = site.ask(CI, revision, way, taskId=f"{tool}.{run_id}", meta=meta)
        else:
            found = site.call(CI, revision, way, tool=tool, dag_run_id=run_id)
        return json.loads(json.dumps(found).replace(tool, "TOOL"))  # type: ignore[no-any-return]

    hidden, missing = answer("payroll"), answer("qayrqll")

    assert hidden == missing
    assert "error" in hidden or hidden["result"]["isError"]
    assert "payroll" not in json.dumps(hidden)


@revisions
def test_run_of_another_caller_is_reported_as_unknown(site: Site, revision: str) -> None:
    run_id = site.start(CI, revision, "report")
    unknown = f"{run_id[:-1]}{'9' if run_id[-1] != '9' else '8'}"
    meta: Message = {"io.modelcontextprotocol/clientCapabilities": {"extensions": {EXTENSION: {}}}}

    def answers(key: str, run: str) -> list[Message]:
        found = [site.call(key, revision, name, tool="report", dag_run_id=run, wait_seconds=0) for name in OWN_TOOLS]
        if revision == MODERN:
            task: Message = {"taskId": f"report.{run}", "meta": meta}
            found += [site.ask(key, revision, f"tasks/{verb}", **task) for verb in ("get", "cancel")]
            found.append(site.ask(key, revision, "tasks/update", **task, inputResponses={}))
        return [json.loads(json.dumps(one).replace(run, "RUN")) for one in found]

    if revision == MODERN:  # dagcall then waits for the run, and could answer from memory
        assert (
            site.ask(CI, revision, "tasks/get", taskId=f"report.{run_id}", meta=meta)["result"]["status"] == "working"
        )
    assert answers(ANN, run_id) == answers(ANN, unknown)
    assert all("error" in answer or answer["result"]["isError"] for answer in answers(ANN, run_id))
    assert site.airflow.run(run_id).state != "failed"
    assert answers(CI, run_id)[OWN_TOOLS.index("cancel_dag_run")]["result"]["structuredContent"]["state"] == "failed"


@revisions
def test_identical_calls_of_two_callers_start_two_runs(site: Site, revision: str) -> None:
    first = site.start(CI, revision, "report")
    assert site.start(CI, revision, "report") == first
    assert site.start(IDLE, revision, "report") != first


def test_tools_command_lists_the_callers_of_each_tool(site: Site) -> None:
    table = run_dagcall("tools", environ=site.environ | {"COLUMNS": "120"})
    callers = json.loads(run_dagcall("tools", "--json", environ=site.environ).stdout)["callers"]
    assert callers == {"build": ["scope:dags.run"], "payroll": ["group:finance"], "report": ["*"]}
    rows = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in table.stdout.splitlines()]
    assert [row[:4] for row in rows if row[0] in callers] == [
        ["build", "build", "none", "scope:dags.run"],
        ["payroll", "payroll", "none", "group:finance"],
        ["report", "report", "none", "everybody"],
    ]


def test_run_note_names_the_caller_and_the_client(site: Site) -> None:
    site.ask(
        CI,
        MODERN,
        "tools/call",
        name="build",
        arguments={},
        meta={"dagcall/wait_seconds": 0, "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
    )

    run = next(run for run in reversed(site.airflow.runs) if run.dag.dag_id == "build")
    assert (run.note or "").startswith(
        f"Called through MCP (dagcall) as tool build (request 7, trace {TRACE}) by ci (key:ci) with by hand 1 ["
    )
    assert run.conf == {"requested_by": "key:ci"}
    assert run.triggering_user_name == "clerk"


@revisions
def test_airflow_permissions_apply_to_each_caller(site: Site, revision: str) -> None:
    before = len(site.airflow.runs)

    refused = site.call(ANN, revision, "payroll")["result"]

    assert refused["isError"]
    assert refused["content"][0]["text"] == (
        "Nothing was started: dagcall starts your runs with Airflow's account 'viewer', and Airflow does not let it "
        "run dag payroll. Airflow's administrator can change that."
    )
    assert len(site.airflow.runs) == before


def test_only_callers_of_a_tool_are_notified_of_its_changes(site: Site) -> None:
    message = request(MODERN, 7, "subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    changed = "notifications/tools/list_changed"
    with (
        site.stream(ANN, MODERN, message) as ann,  # subscribes first, so it would be notified first
        site.stream(CI, MODERN, message) as ci,
        ThreadPoolExecutor() as threads,
    ):
        assert next(ci)["method"] == next(ann)["method"] == "notifications/subscriptions/acknowledged"
        told = threads.submit(next, ann)
        build, _, report = dags("Better.")
        site.airflow.add_dag(build)
        assert next(ci)["method"] == changed
        assert not told.done()
        site.airflow.add_dag(report)
        assert told.result(30)["method"] == changed
        assert next(ci)["method"] == changed


def test_audit_log_records_callers_and_outcomes(site: Site) -> None:
    site.call(ANN, MODERN, "build")
    site.call(ANN, MODERN, "payroll")
    text = (site.folder / "audit.jsonl").read_text(encoding="utf-8")

    *_, hidden, refused = map(json.loads, text.splitlines())
    assert [hidden[key] for key in ("caller", "tool", "dag", "outcome")] == ["key:ann", "build", "build", "refused"]
    assert (refused["label"], refused["client"], refused["request"]) == ("ann", "by hand 1", "7")
    assert not any(secret in text for secret in (CI, ANN, IDLE, "clerk-password"))
