import asyncio
import io
import json
import os
import shlex
import signal
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dagcall.demo.command import CannotStart, default_folder, last_lines, require_free_ports
from dagcall.demo.examples import example_call, example_value
from dagcall.demo.folder import DemoRuns, Folder, Secrets
from dagcall.demo.installation import REQUIREMENTS, cache_folder, environment_folder
from dagcall.demo.introduction import dagcall_config, desktop_snippet, introduction, is_on_path
from dagcall.demo.process_table import ProcessRow, family, process_table, row_from_stat, still_running
from dagcall.demo.processes import ChildDied, Children, stop_leftovers
from dagcall.demo.progress import Progress, Step
from dagcall.demo.stack import (
    DAGS,
    MAX_SOCKET_FOLDER,
    components_not_healthy,
    dag_files,
    database_is_ready,
    parsed_files,
    settings,
    socket_folder,
    without_proxy,
)

SECRETS = Secrets("admin-word", "agent-word", "jwt", "key", "fernet")
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PYTHON = Path(sys.executable)


def test_chosen_port_is_used_in_all_airflow_settings() -> None:
    own = settings(Folder(Path("/demo")), SECRETS, 18080, {})
    assert {name: value for name, value in own.items() if "18080" in value} == {
        "AIRFLOW__API__PORT": "18080",
        "AIRFLOW__API__BASE_URL": "http://127.0.0.1:18080",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://127.0.0.1:18080/execution/",
    }


@pytest.mark.parametrize(
    "name",
    [
        "AIRFLOW_HOME",
        "AIRFLOW__CORE__EXECUTOR",
        "_AIRFLOW_PROCESS_CONTEXT",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "PGHOST",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ],
)
def test_users_own_settings_do_not_reach_airflow(name: str) -> None:
    assert "foreign" not in settings(Folder(Path("/demo")), SECRETS, 8080, {name: "foreign"}).values()


def test_airflow_keeps_variables_about_the_machine() -> None:
    own = settings(Folder(Path("/demo")), SECRETS, 8080, {"PATH": "/bin", "TZ": "Asia/Tokyo"})
    assert (own["PATH"], own["TZ"]) == ("/bin", "Asia/Tokyo")


def test_a_folder_with_a_space_is_quoted_in_database_addresses() -> None:
    own = settings(Folder(Path("/my demo")), SECRETS, 8080, {})
    assert own["AIRFLOW_CONN_SHOP"] == "postgresql://postgres@/shop?host=%2Fmy%20demo%2Fpostgres%2Fsocket"


def test_local_requests_bypass_the_users_proxy() -> None:
    assert without_proxy({"no_proxy": "example.org"})["NO_PROXY"] == "example.org,127.0.0.1,localhost"


def test_deep_folder_gets_a_short_socket_path() -> None:
    deep = Path("/" + "d" * 100)
    assert socket_folder(Path("/demo")) == Path("/demo/socket")
    assert len(bytes(socket_folder(deep))) <= MAX_SOCKET_FOLDER
    assert socket_folder(deep) != socket_folder(deep / "other")


@pytest.mark.parametrize(
    ("text", "is_ready"),
    [
        pytest.param("7\n/data\n1\n5432\n/socket\n\n 1 2\nready   \n", True, id="ready"),
        pytest.param("7\n/data\n1\n5432\n/socket\n\n 1 2\nstarting\n", False, id="starting"),
        pytest.param("6\n/data\n1\n5432\n/socket\n\n 1 2\nready   \n", False, id="left by an earlier server"),
        pytest.param("", False, id="being written"),
    ],
)
def test_the_database_is_ready_when_its_pid_file_says_so(tmp_path: Path, text: str, is_ready: bool) -> None:  # noqa: FBT001
    (tmp_path / "postmaster.pid").write_text(text)
    assert database_is_ready(tmp_path, 7) is is_ready


def heartbeat(component: str, moment: str | None, status: str = "healthy") -> dict[str, Any]:
    return {component: {"status": status, f"latest_{component}_heartbeat": moment}}


def test_heartbeat_from_before_the_start_is_not_healthy() -> None:
    health = (
        heartbeat("scheduler", "2026-11-22T12:00:01.5Z")
        | heartbeat("dag_processor", "2026-11-22T11:59:59Z")
        | heartbeat("triggerer", None, "unhealthy")
    )
    assert components_not_healthy(health, NOON) == ["dag-processor", "triggerer"]


def test_only_files_parsed_since_the_start_count() -> None:
    def parsed(file: str, moment: str | None, bundle: str = "demo") -> dict[str, Any]:
        return {"relative_fileloc": file, "last_parsed_time": moment, "bundle_name": bundle}

    dags = [
        parsed("new.py", "2026-11-22T12:00:01Z"),
        parsed("old.py", "2026-11-22T11:00:00Z"),
        parsed("never.py", None),
        parsed("own.py", "2026-11-22T12:00:01Z", "own"),
    ]
    assert parsed_files(dags, NOON) == {"new.py"}


def test_dag_files_lists_every_demo_dag() -> None:
    assert dag_files(DAGS) == {
        "always_fails.py",
        "approve_refund.py",
        "big_table.py",
        "sales_report.py",
        "score_many.py",
        "slow_steps.py",
        "submit_order.py",
        "summarize_text.py",
    }


def test_every_requirement_has_a_hash() -> None:
    blocks = REQUIREMENTS.read_text().replace("\\\n", "").splitlines()
    pins = [line for line in blocks if "==" in line and not line.lstrip().startswith("#")]
    assert len(pins) > 100
    assert [pin for pin in pins if "--hash=sha256:" not in pin] == []


def test_different_requirements_get_different_environments(tmp_path: Path) -> None:
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("a==1\n")
    other.write_text("a==2\n")
    assert environment_folder("airflow", one, tmp_path) == environment_folder("airflow", one, tmp_path)
    assert environment_folder("airflow", one, tmp_path) != environment_folder("airflow", other, tmp_path)


def test_folders_follow_the_xdg_variables() -> None:
    environ = {"XDG_CACHE_HOME": "/cache", "XDG_DATA_HOME": "/data"}
    assert (cache_folder(environ), default_folder(environ)) == (Path("/cache/dagcall"), Path("/data/dagcall/demo"))
    assert cache_folder({}) == Path.home() / ".cache" / "dagcall"
    assert default_folder({}) == Path.home() / ".local" / "share" / "dagcall" / "demo"


def test_secrets_are_created_once_and_are_private(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "demo")
    first = folder.prepare()
    assert folder.prepare() == first
    private = [folder.path / "secrets", folder.passwords_file, folder.agent_password_file]
    assert [oct(path.stat().st_mode & 0o777) for path in private] == ["0o600"] * 3
    assert json.loads(folder.passwords_file.read_text())["agent"] == folder.agent_password_file.read_text().strip()


def test_second_demo_in_a_folder_is_refused_with_the_address_of_the_first(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with (
        folder.claimed({"dagcall": "http://127.0.0.1:8000/mcp"}),
        pytest.raises(DemoRuns, match=f"process {os.getpid()}.*http://127.0.0.1:8000/mcp"),
        folder.claimed({}),
    ):
        pass
    with folder.claimed({}):
        pass


def test_each_busy_port_is_named_with_its_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        host_port, airflow_port = one.getsockname()[1], two.getsockname()[1]
        with pytest.raises(CannotStart) as refusal:
            require_free_ports(host_port, airflow_port)
    assert f"port {host_port} is in use; choose another with --port" in str(refusal.value)
    assert f"port {airflow_port} is in use; choose another with --airflow-port" in str(refusal.value)
    require_free_ports(host_port, airflow_port)


def test_same_port_for_both_servers_is_refused() -> None:
    with pytest.raises(CannotStart, match="two different ports"):
        require_free_ports(8000, 8000)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        pytest.param({"type": "string", "examples": ["a", "b"], "default": "c"}, "a", id="first example"),
        pytest.param({"type": "string", "enum": ["x", "y"]}, "x", id="enum"),
        pytest.param({"const": 0}, 0, id="const"),
        pytest.param({"type": "string", "default": ""}, "", id="default"),
        pytest.param({"type": "integer", "minimum": 5}, 5, id="minimum"),
        pytest.param({"type": "string", "format": "email"}, "someone@example.com", id="format"),
        pytest.param({"type": ["null", "number"]}, None, id="several types"),
        pytest.param({}, "text", id="no type"),
        pytest.param(
            {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}, "m": {}}},
            {"n": 1},
            id="object",
        ),
        pytest.param({"type": "array", "minItems": 2, "items": {"type": "boolean"}}, [True, True], id="array"),
    ],
)
def test_an_example_is_derived_from_the_schema(schema: dict[str, Any], value: object) -> None:
    assert example_value(schema) == value


def test_example_call_is_quoted_for_the_shell() -> None:
    properties = {"text": {"type": "string", "examples": ["It's $HOME"]}, "n": {"type": "integer"}, "optional": {}}
    tool = {"name": "t", "inputSchema": {"properties": properties, "required": ["n", "text"]}}
    assert shlex.split(example_call(tool)) == ["dagcall", "call", "t", "text=It's $HOME", "n=1"]


def test_a_tool_without_params_is_called_without_arguments() -> None:
    assert example_call({"name": "t", "inputSchema": {"type": "object"}}) == "dagcall call t"


def introduced(**changes: Any) -> list[str]:
    values: dict[str, Any] = {
        "url": "http://127.0.0.1:8000/mcp",
        "airflow_url": "http://127.0.0.1:8080",
        "admin_password": "word",
        "folder": Folder(Path("/my demo")),
        "tools": [{"name": "t", "inputSchema": {}}],
        "warnings": [],
        "dagcall": ["/bin/dagcall"],
        "is_on_path": True,
    }
    return introduction(**values | changes).splitlines()


def test_the_introduction_begins_with_the_address() -> None:
    assert introduced()[0] == "dagcall ready: http://127.0.0.1:8000/mcp"


def test_introduction_offers_an_alias_if_dagcall_is_not_on_path() -> None:
    assert "  alias dagcall='/my env/dagcall'" not in introduced()
    assert "  alias dagcall=''\"'\"'/my env/dagcall'\"'\"''" in introduced(
        is_on_path=False, dagcall=["/my env/dagcall"]
    )


def test_introduction_shows_warnings_about_the_users_dags() -> None:
    assert "Warning    own.py: SyntaxError" in introduced(warnings=["own.py: SyntaxError"])


def test_the_introduction_says_that_there_are_no_tools() -> None:
    assert "dagcall publishes no tools yet." in introduced(tools=[])


def test_the_desktop_snippet_starts_a_stdio_server() -> None:
    assert json.loads(desktop_snippet(["/py", "-m", "dagcall"], Path("/d/dagcall.toml"))) == {
        "mcpServers": {
            "airflow": {"command": "/py", "args": ["-m", "dagcall", "serve", "--stdio", "--config", "/d/dagcall.toml"]}
        }
    }


def test_the_config_names_the_password_file_not_the_password() -> None:
    text = dagcall_config("http://127.0.0.1:8080", Path("/my demo/airflow-agent-password"))
    assert 'password_file = "/my demo/airflow-agent-password"' in text


def test_path_entry_added_by_uv_does_not_count(tmp_path: Path) -> None:
    script = tmp_path / "dagcall"
    script.touch(0o755)
    environ = {"PATH": str(tmp_path)}
    assert is_on_path(environ, tmp_path / "python")
    assert not is_on_path(environ | {"UV": "/bin/uv"}, tmp_path / "python")
    assert is_on_path(environ | {"UV": "/bin/uv"}, Path("/elsewhere/python"))


def row(pid: int, parent: int, session: int) -> ProcessRow:
    return ProcessRow(pid, parent, pid, session, "0")


def test_a_family_is_the_session_and_all_descendants() -> None:
    leader, worker, orphan, task, detached = (
        row(10, 1, 10),
        row(11, 10, 10),
        row(12, 1, 10),
        row(13, 11, 10),
        row(14, 13, 14),
    )
    table = [detached, task, orphan, worker, leader, row(20, 1, 20), row(1, 0, 1)]
    assert {member.pid for member in family(table, 10)} == {10, 11, 12, 13, 14}


def test_process_name_may_contain_any_characters() -> None:
    stat = "42 (a) b (c) S 1 42 40 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 98765 1 2"
    assert row_from_stat(stat) == ProcessRow(42, 1, 42, 40, "98765")
    assert row_from_stat(stat.replace(") S ", ") Z ")) is None


def test_process_table_contains_this_process() -> None:
    assert [entry.parent for entry in process_table() if entry.pid == os.getpid()] == [os.getppid()]


#: Ignores SIGTERM, and so does its child, which has a separate session and opens the pipe once it runs.
STUBBORN = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 2:
    subprocess.Popen([sys.executable, __file__, sys.argv[1], "child"], start_new_session=True)
else:
    open(sys.argv[1], "w").close()
signal.pause()
"""


async def start_stubborn(children: Children, folder: Path, **options: Any) -> list[ProcessRow]:
    """Start the stubborn process; return the rows of it and its child."""
    script, pipe = folder / "stubborn.py", folder / "pipe"
    script.write_text(STUBBORN)
    os.mkfifo(pipe)
    command = [sys.executable, str(script), str(pipe)]
    child = await children.start("stubborn", command, interpreter=PYTHON, environ={}, **options)
    await asyncio.to_thread(pipe.read_bytes)
    return family(process_table(), child.process.pid)


def pid_files(folder: Path) -> list[Path]:
    return list(folder.glob("*.pid"))


async def test_stop_ends_processes_that_ignore_signals_or_leave_the_session(tmp_path: Path) -> None:
    children = Children(tmp_path, tmp_path)
    known = await start_stubborn(children, tmp_path, stop_seconds=0.1)
    await children.stop()
    assert (len(known), still_running(known), pid_files(tmp_path)) == (2, [], [])


async def test_a_second_ctrl_c_kills_at_once(tmp_path: Path) -> None:
    children = Children(tmp_path, tmp_path)
    known = await start_stubborn(children, tmp_path)
    children.kill()
    assert (len(known), await children.running[0].ended, pid_files(tmp_path)) == (2, -signal.SIGKILL, [])


async def test_next_start_stops_the_leftovers_of_a_killed_demo(tmp_path: Path) -> None:
    known = await start_stubborn(Children(tmp_path, tmp_path), tmp_path, stop_signal=signal.SIGUSR1)
    await stop_leftovers(tmp_path)
    assert (len(known), still_running(known), pid_files(tmp_path)) == (2, [], [])


async def test_reused_pid_is_not_signalled(tmp_path: Path) -> None:
    note = {"pid": os.getpid(), "started": "another time", "stop_signal": "SIGKILL"}
    (tmp_path / "postgres.pid").write_text(json.dumps(note))
    (tmp_path / "cut-off.pid").write_text('{"pid": 1')
    await stop_leftovers(tmp_path)
    assert pid_files(tmp_path) == []


async def test_death_of_a_child_is_reported_with_its_log(tmp_path: Path) -> None:
    children = Children(tmp_path, tmp_path)
    script = "import os; print('last words', flush=True); os.kill(os.getpid(), 9)"
    await children.start("scheduler", [sys.executable, "-c", script], interpreter=PYTHON, environ={})
    with pytest.raises(ChildDied, match="scheduler was killed by SIGKILL") as death:
        async with asyncio.timeout(60):
            await children.watch()
    assert last_lines(death.value.log) == ["last words"]
    await children.stop()


async def test_failed_command_is_reported_with_its_exit_code(tmp_path: Path) -> None:
    children = Children(tmp_path, tmp_path)
    with pytest.raises(ChildDied, match="db-migrate ended with exit code 3"):
        await children.run("db-migrate", [sys.executable, "-c", "exit(3)"], interpreter=PYTHON, environ={})


async def test_log_of_the_previous_run_is_kept(tmp_path: Path) -> None:
    children = Children(tmp_path, tmp_path)
    for word in ("one", "two"):
        await children.run("w", [sys.executable, "-c", f"print('{word}')"], interpreter=PYTHON, environ={})
    assert ((tmp_path / "w.log").read_text(), (tmp_path / "w.log.1").read_text()) == ("two\n", "one\n")


def test_progress_is_plain_lines_without_a_terminal() -> None:
    seconds = iter(range(100))
    text = io.StringIO()
    progress = Progress(Console(file=text), [Step("PostgreSQL"), Step("Airflow")], clock=lambda: float(next(seconds)))
    with progress.shown(), progress.step("PostgreSQL"):
        pass
    with pytest.raises(ValueError, match="broken"), progress.shown(), progress.step("Airflow"):
        raise ValueError("broken")
    assert text.getvalue().splitlines()[0] == "PostgreSQL ..."
    assert text.getvalue().splitlines()[1].startswith("PostgreSQL: done in ")
    assert progress.failed() == "Airflow"
    assert [step.state for step in progress.steps] == ["done", "failed"]


def test_progress_shows_every_step_with_its_state() -> None:
    text = io.StringIO()
    progress = Progress(Console(file=text, force_terminal=True, width=80, _environ={}), [Step("one"), Step("two")])
    with progress.shown(), progress.step("one") as note:
        note("a [note]")
    plain = io.StringIO()
    Console(file=plain, width=80).print(progress)
    assert [line.split()[:2] for line in plain.getvalue().splitlines()] == [["✓", "one"], ["·", "two"]]
