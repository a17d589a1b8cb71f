"""The commands as a user types them: stdout, stderr and exit code."""

import json
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from mcp import Client
from typer.core import TyperGroup

from dagcall.cli.commands import app
from dagcall.demo.stack import DAGS as DEMO_DAGS
from dagcall.demo.stack import dag_files
from dagcall.tools.naming import GENERIC_TOOL_NAMES
from tests.support.commands import clean_environ, free_port, run_dagcall
from tests.support.demo_calls import FERRY, SUMMARIES
from tests.support.running_demo import RunningDemo

GROUP = typer.main.get_command(app)
assert isinstance(GROUP, TyperGroup)
COMMANDS = GROUP.commands

BEST_TWO = [entry["text"] for entry in SUMMARIES[0].results["summarize"]["sentences"] if entry["score"] > 0.9]


def complaint(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Return the error message of a failed command; it is on stderr only and has no traceback."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


# dagcall tools


async def test_tools_lists_the_published_tools(demo: RunningDemo, tmp_path: Path) -> None:
    table = run_dagcall("tools", environ=demo.environ, folder=tmp_path)
    as_json = run_dagcall("tools", "--json", environ=demo.environ, folder=tmp_path)
    async with Client(demo.url) as client:
        listed = [
            tool.model_dump(mode="json", by_alias=True, exclude_none=True)
            for tool in (await client.list_tools()).tools
            if tool.name not in GENERIC_TOOL_NAMES
        ]

    assert (table.returncode, as_json.returncode) == (0, 0)
    callers = {tool["name"]: ["*"] for tool in listed}
    answer = json.loads(as_json.stdout)
    assert answer.pop("usual_seconds").keys() == callers.keys()
    assert all(10 < tokens < 5000 for tokens in answer.pop("tokens").values())
    assert answer == {"tools": listed, "callers": callers, "pins": {}, "withheld": [], "problem": None}
    for tool in listed:
        assert f" {tool['name']} " in table.stdout
    assert f"using the demo's settings, {demo.config}" in table.stderr


def test_tools_shows_one_tool_as_a_model_sees_it(demo: RunningDemo) -> None:
    shown = run_dagcall("tools", "show", "summarize_text", environ=demo.environ)
    as_json = run_dagcall("tools", "show", "summarize_text", "--json", environ=demo.environ)
    listed = json.loads(run_dagcall("tools", "--json", environ=demo.environ).stdout)["tools"]
    (tool,) = [tool for tool in listed if tool["name"] == "summarize_text"]
    assert (shown.returncode, as_json.returncode) == (0, 0)
    assert json.loads(as_json.stdout) == tool
    assert tool["description"].splitlines()[0] in shown.stdout
    missing = complaint(run_dagcall("tools", "show", "sumarize_text", environ=demo.environ), 2)
    assert missing.endswith("\ntool 'sumarize_text' is not published; did you mean 'summarize_text'?")


def test_tools_says_which_tools_equal_their_pins(demo: RunningDemo, tmp_path: Path) -> None:
    assert run_dagcall("pin", "summarize_text", environ=demo.environ, folder=tmp_path).returncode == 0
    pins = json.loads(run_dagcall("tools", "--json", environ=demo.environ, folder=tmp_path).stdout)["pins"]
    assert pins.pop("summarize_text") == "pinned"
    assert set(pins.values()) == {"not pinned"}


def test_tools_shows_why_a_dag_is_not_published(demo: RunningDemo, tmp_path: Path) -> None:
    config = tmp_path / "dagcall.toml"
    config.write_text(demo.config.read_text() + '\n[[tools]]\ndag = "sumarize_text"\n')
    done = run_dagcall("tools", environ=demo.environ, folder=tmp_path)
    assert done.returncode == 0
    shown = " ".join(done.stdout.replace("│", " ").split())
    assert "not published" in shown
    assert "sumarize_text" in shown
    assert "or dagcall's account may not see it" in shown


# dagcall call


def called(demo: RunningDemo, *words: str, folder: Path | None = None) -> dict[str, Any]:
    """Call a tool and return its answer, which is the whole of stdout."""
    done = run_dagcall("call", *words, environ=demo.environ, folder=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout not in done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["state"] == "success"
    return answer


def test_call_prints_the_result(demo: RunningDemo) -> None:
    answer = called(demo, "summarize_text", f"text={FERRY}", "max_sentences=2")
    assert answer["results"]["summarize"]["summary"] == " ".join(BEST_TWO)


def test_call_reads_a_value_from_a_file_and_others_from_json(demo: RunningDemo, tmp_path: Path) -> None:
    (tmp_path / "ferry.txt").write_text(FERRY, encoding="utf-8")
    arguments = json.dumps({"max_sentences": 1, "style": "bullets"})
    answer = called(demo, "summarize_text", "text=@ferry.txt", "max_sentences=2", "--args", arguments, folder=tmp_path)
    assert answer["results"]["summarize"]["summary"] == "\n".join(f"- {sentence}" for sentence in BEST_TWO)


def test_call_uses_a_running_server(demo: RunningDemo, tmp_path: Path) -> None:
    done = run_dagcall("call", "factorial", "n=20", "--url", demo.url, environ=clean_environ(), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"] == {"compute": "2432902008176640000"}


def test_call_of_a_failing_dag_prints_the_failure_to_stderr(demo: RunningDemo) -> None:
    text = complaint(run_dagcall("call", "always_fails", "message=no paper", environ=demo.environ), 1)
    assert "Task explode failed on try 2 of 2: ValueError: Step 3 failed: no paper" in text


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        pytest.param(["summarise_text", "text=x"], 1, "did you mean 'summarize_text'?", id="unknown tool"),
        pytest.param(["summarize_text"], 1, "- text: ", id="missing argument"),
        pytest.param(
            ["summarize_text", "text=x", "max_sentences=0"], 1, "0 is less than the minimum of 1", id="bad argument"
        ),
        pytest.param(["summarize_text", "txt=x"], 1, "- txt: ", id="extra argument"),
        pytest.param(["summarize_text", "text"], 2, "'text' is not of the form key=value", id="no key"),
        pytest.param(["summarize_text", "text=x", "text=y"], 2, "text is given twice", id="twice"),
        pytest.param(["summarize_text", "text=@nowhere.txt"], 2, "nowhere.txt cannot be read", id="no such file"),
        pytest.param(["summarize_text", "--args", "{"], 2, "--args is not JSON", id="not JSON"),
        pytest.param(["summarize_text", "--args", "[]"], 2, "--args is not a JSON object", id="not an object"),
    ],
)
def test_call_rejects_invalid_tools_and_arguments(
    demo: RunningDemo, words: list[str], code: int, sentence: str, tmp_path: Path
) -> None:
    text = complaint(run_dagcall("call", *words, environ=demo.environ, folder=tmp_path), code)
    assert sentence in text


def test_call_names_an_unreachable_server() -> None:
    url = f"http://127.0.0.1:{free_port()}/mcp"
    text = complaint(run_dagcall("call", "factorial", "n=1", "--url", url), 1)
    assert text.startswith(f"no MCP server can be called at {url}: ")


# dagcall pin, dagcall check


def test_pins_are_equal_until_one_is_changed(demo: RunningDemo, tmp_path: Path) -> None:
    pinned = run_dagcall("pin", "--dir", "pins", environ=demo.environ, folder=tmp_path)
    assert pinned.returncode == 0
    assert f"pinned: {Path('pins') / 'submit_order.json'}\n" in pinned.stdout
    equal = run_dagcall("check", "--dir", "pins", environ=demo.environ, folder=tmp_path)
    assert (equal.returncode, equal.stdout) == (0, "all tools equal their pins in pins\n")

    pin = tmp_path / "pins" / "submit_order.json"
    tool = json.loads(pin.read_text())
    before = tool["description"]
    tool["description"] = "Order something."
    tool["inputSchema"]["properties"]["coupon"]["default"] = "WELCOME10"
    pin.write_text(json.dumps(tool))
    (tmp_path / "pins" / "factorial.json").unlink()
    (tmp_path / "pins" / "gone.json").write_text('{"name": "gone"}')

    differs = run_dagcall("check", "--dir", "pins", environ=demo.environ, folder=tmp_path)
    assert differs.returncode == 1
    description = "".join(f"    +{line}\n" for line in before.split("\n"))
    assert f"submit_order:\n  description:\n    -Order something.\n{description}  inputSchema:\n" in differs.stdout
    assert '-      "default": "WELCOME10"' in differs.stdout.replace("       ", "      ")
    assert "factorial: published, but not pinned\n" in differs.stdout
    assert "gone: pinned, but no longer published\n" in differs.stdout
    assert "3 tools differ from their pins in pins; " in differs.stderr

    again = run_dagcall("pin", "--prune", "--dir", "pins", environ=demo.environ, folder=tmp_path)
    assert again.returncode == 0
    assert not (tmp_path / "pins" / "gone.json").exists()
    assert run_dagcall("check", "--dir", "pins", environ=demo.environ, folder=tmp_path).returncode == 0


def test_check_without_pins_says_how_to_make_them(demo: RunningDemo, tmp_path: Path) -> None:
    text = complaint(run_dagcall("check", environ=demo.environ, folder=tmp_path), 2)
    assert text.splitlines()[-1] == "folder of pins not found: tool_schemas; `dagcall pin` creates it"


def test_serve_pinned_needs_pins(demo: RunningDemo, tmp_path: Path) -> None:
    text = complaint(run_dagcall("serve", "--pinned", environ=demo.environ, folder=tmp_path), 2)
    assert "folder of pins not found: tool_schemas" in text


# Help


def test_help_names_every_command() -> None:
    done = run_dagcall("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert f" {name} " in done.stdout
    assert "..." not in done.stdout.partition("Commands:")[2]  # a summary that does not fit


def test_version_is_shown() -> None:
    assert run_dagcall("--version").stdout == f"dagcall {version('dagcall')}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_explains_every_option(name: str) -> None:
    command = COMMANDS[name]
    done = run_dagcall(name, "--help", environ=clean_environ(COLUMNS="200"))
    assert done.returncode == 0
    shown = " ".join(done.stdout.replace("│", " ").split())
    assert command.help is not None
    assert " ".join(command.help.split()) in shown
    for parameter in command.params:
        if "--help" in parameter.opts:
            continue
        explanation = getattr(parameter, "help", None)
        assert explanation, f"{name} {parameter.name} is not explained"
        assert explanation.endswith("."), f"{name} {parameter.name}: no sentence"
        assert explanation in shown
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in shown


def test_no_command_shows_the_help() -> None:
    done = run_dagcall()
    assert "Publish Airflow dags as MCP tools" in done.stdout + done.stderr


# Settings and environment


def test_missing_settings_are_explained(tmp_path: Path) -> None:
    text = complaint(run_dagcall("tools", environ=clean_environ(XDG_DATA_HOME=str(tmp_path)), folder=tmp_path), 2)
    assert text.startswith("dagcall does not know which Airflow to use: ")
    assert text.endswith("To try dagcall without an Airflow, run: dagcall demo")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(
            '[airflow]\nusrname = "x"\n',
            "dagcall.toml: airflow.usrname is not a dagcall setting; did you mean 'username'?",
            id="typo",
        ),
        pytest.param("[airflow\n", "dagcall.toml is not valid TOML", id="not TOML"),
        pytest.param('[[tools]]\ndag = "a"\ntag = "b"\n', "give exactly one of dag, dags and tag", id="contradiction"),
        pytest.param("[server]\nport = 0\n", "server.port", id="out of range"),
        pytest.param('[server]\nhost = "0.0.0.0"\n', "is reachable from other machines", id="open to the world"),
    ],
)
def test_invalid_setting_is_reported_in_one_line(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "dagcall.toml").write_text(content)
    text = complaint(run_dagcall("tools", folder=tmp_path), 2)
    assert sentence in text
    assert len(text.splitlines()) == 1


def test_misspelt_variable_is_reported() -> None:
    text = complaint(run_dagcall("tools", environ=clean_environ(DAGCALL_AIRFLOW_URI="http://127.0.0.1:1")), 2)
    assert text == (
        "the environment: DAGCALL_AIRFLOW_URI is not a dagcall setting; did you mean 'DAGCALL_AIRFLOW_URL'?"
    )


@pytest.mark.parametrize("words", [["tools"], ["call", "factorial", "n=1"], ["pin"], ["check", "--dir", "."]])
def test_unreachable_airflow_is_named(words: list[str], tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = run_dagcall(*words, environ=clean_environ(DAGCALL_AIRFLOW_URL=url, DAGCALL_DAGS="*"), folder=tmp_path)
    assert done.returncode != 0
    assert url in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_wrong_password_is_reported_without_showing_it(demo: RunningDemo) -> None:
    environ = clean_environ(
        DAGCALL_AIRFLOW_URL=demo.airflow_url,
        DAGCALL_AIRFLOW_USERNAME="agent",
        DAGCALL_AIRFLOW_PASSWORD="not-the-password",
        DAGCALL_DAGS="*",
    )
    done = run_dagcall("tools", environ=environ)
    assert done.returncode == 1
    assert "agent" in done.stderr
    assert "not-the-password" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_busy_port_is_reported_with_the_option_to_change_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        environ = clean_environ(DAGCALL_DAGS="*")
        text = complaint(run_dagcall("serve", "--port", str(port), environ=environ, folder=tmp_path), 2)
    assert text.startswith(f"port {port} of 127.0.0.1 cannot be used: ")
    assert text.endswith("choose another with --port")


# The demo's output


SHIPPED = {path.stem for path in DEMO_DAGS.glob("*.py")} | {"factorial"}


def test_commands_printed_by_the_demo_work_when_pasted(demo: RunningDemo) -> None:
    head, _, printed = demo.introduction.partition("Call them from another terminal:\n")
    lines = [line.strip() for line in printed.partition("\n\n")[0].splitlines()]
    set_up = [line for line in lines if not line.startswith("dagcall call ")]
    examples = {line.split()[2]: line for line in lines if line.startswith("dagcall call ")}
    assert head.splitlines()[-1].startswith(f"{len(examples)} tools")
    bash = shutil.which("bash")
    assert bash is not None

    def paste(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - what the user is told to paste
            [bash, "-c", "\n".join(["shopt -s expand_aliases", *set_up, examples[name]])],
            env=demo.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    # Only the shipped dags, because those of other tests wait for people and files. Two at a time, because each command
    # reads all dags, and separate processes do not share a gate.
    with ThreadPoolExecutor(2) as hands:
        done = dict(zip(sorted(SHIPPED), hands.map(paste, sorted(SHIPPED)), strict=True))
    said = {name: (ended.stdout, ended.stderr) for name, ended in done.items()}
    codes = {name: ended.returncode for name, ended in done.items()}
    assert codes == dict.fromkeys(SHIPPED, 0) | {"always_fails": 1}, said
    answers = {name: json.loads(out).get("results") for name, (out, _) in said.items() if name != "always_fails"}
    assert answers.pop("big_table") is None  # too large for one answer
    assert answers["factorial"] == {"compute": "120"}
    assert answers["submit_order"]["book_order"]["accepted"] is True
    assert len(answers["score_many"]["score"]) == 2
    assert answers["summarize_text"]["summarize"]["sentences_total"] == 3
    assert answers["sales_report"]["report"]["totals"]["orders"] == 2460


def test_snippet_for_claude_desktop_starts_a_server(demo: RunningDemo) -> None:
    text = "{" + demo.introduction.partition("\n{")[2].partition("\n}\n")[0] + "}"
    server = json.loads(text)["mcpServers"]["airflow"]
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "claude-ai", "version": "0.1.0"},
        },
    }
    done = subprocess.run(  # noqa: S603 - what the user is told to paste
        [server["command"], *server["args"]],
        env=clean_environ(),
        input=json.dumps(hello) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["result"]["protocolVersion"] == "2025-06-18"


# dagcall lint


def test_lint_looks_at_tools_and_recent_runs(demo: RunningDemo, tmp_path: Path) -> None:
    """Only the demo's dags, because its Airflow also contains those of the tests."""
    environ = clean_environ(
        DAGCALL_AIRFLOW_URL=demo.airflow_url,
        DAGCALL_AIRFLOW_USERNAME="agent",
        DAGCALL_AIRFLOW_PASSWORD_FILE=str(demo.folder / "airflow-agent-password"),
        DAGCALL_DAGS=",".join(sorted(Path(name).stem for name in dag_files(DEMO_DAGS))),
    )
    done = run_dagcall("lint", "--json", environ=environ, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    # Plain defaults, on purpose. What other tests have called by now decides about the runs.
    about_tools = [finding for finding in found["findings"] if finding["rule"] not in {"slow-run", "large-result"}]
    assert [(finding["subject"], finding["rule"]) for finding in about_tools] == [
        ("score_many", "open-object"),
        ("summarize_text", "open-list"),
    ]
    assert all(finding["level"] == "warning" for finding in found["findings"])
    assert found["tokens"]["total"] == sum(found["tokens"]["tools"].values())


def test_lint_could_not_look_without_an_airflow(tmp_path: Path) -> None:
    environ = clean_environ(DAGCALL_AIRFLOW_URL=f"http://127.0.0.1:{free_port()}", DAGCALL_DAGS="*")
    assert "cannot be reached" in complaint(run_dagcall("lint", environ=environ, folder=tmp_path), 2)
