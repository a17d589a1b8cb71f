"""Pins on a real Airflow: a dag whose file is edited is withheld, and the other tools remain available."""

import json
from pathlib import Path

from tests.processes.test_pinned import SOON
from tests.support.commands import run_dagcall
from tests.support.running_demo import RunningDemo
from tests.support.serving_process import MODERN, http_server

DAG = '''"""A dag that a test edits after its review. It does not have the tag by which the demo publishes dags."""

from airflow.sdk import Param, dag, task


@dag(dag_id="reviewed", schedule=None, description="{description}", params={{"n": Param({default})}})
def reviewed():
    @task
    def back():
        return "as ever"

    back()


reviewed()
'''
PARSED = 120.0
"""Airflow looks for new and edited files periodically."""


def test_dag_file_edited_after_pinning_withholds_only_its_tool(demo: RunningDemo, tmp_path: Path) -> None:
    file = demo.folder / "dags" / "reviewed.py"
    environ = dict(demo.environ) | {
        "DAGCALL_AIRFLOW_URL": demo.airflow_url,
        "DAGCALL_AIRFLOW_USERNAME": "agent",
        "DAGCALL_AIRFLOW_PASSWORD_FILE": str(demo.folder / "airflow-agent-password"),
        "DAGCALL_DAGS": "reviewed,summarize_text",
        "DAGCALL_REFRESH_SECONDS": "1",
    }
    try:
        file.write_text(DAG.format(description="Gives it back.", default=1), encoding="utf-8")
        with http_server(environ) as unpinned:
            unpinned.errors.until(lambda line: "published: reviewed, summarize_text" in line, seconds=PARSED)
        done = run_dagcall("pin", "--dir", "pins", environ=environ, folder=tmp_path)
        assert done.returncode == 0, done.stderr

        with http_server(environ | {"DAGCALL_PINS": str(tmp_path / "pins")}) as server:
            server.errors.until(lambda line: "published: reviewed, summarize_text" in line, seconds=SOON)
            file.write_text(DAG.format(description="Sends it off.", default="True"), encoding="utf-8")
            server.errors.until(
                lambda line: "not published: reviewed: tool reviewed differs from its pin:" in line, seconds=PARSED
            )
            server.errors.until(lambda line: line.rstrip().endswith("published: summarize_text"), seconds=SOON)

            names = {tool["name"] for tool in server.ask(MODERN, "tools/list")["result"]["tools"]}
            assert ("summarize_text" in names, "reviewed" in names) == (True, False)
            refused = server.ask(MODERN, "tools/call", name="reviewed", arguments={})["error"]
            assert "differs from the reviewed one. Nothing was done" in refused["message"]
            assert demo.runs_of("reviewed") == {}
            arguments = {"text": "One sentence. Another one.", "max_sentences": 1}
            answer = server.ask(MODERN, "tools/call", name="summarize_text", arguments=arguments)["result"]
            assert answer["structuredContent"]["state"] == "success", json.dumps(answer)

        differs = run_dagcall("check", "--dir", "pins", environ=environ, folder=tmp_path)
        assert differs.returncode == 1
        assert differs.stdout.splitlines()[:4] == [
            "reviewed:",
            "  description:",
            "    -Gives it back.",
            "    +Sends it off.",
        ]
        assert '"default": true' in differs.stdout.partition("inputSchema:")[2]
        last = differs.stderr.splitlines()[-1]
        assert last == "1 tool differs from its pin in pins; review the changes, then run: dagcall pin"
    finally:
        file.unlink(missing_ok=True)
