"""The first settings file that `dagcall init` writes is what it tried, and explains itself."""

from pathlib import Path

from dagcall.cli.settings_file import settings_text
from dagcall.settings import load_settings
from dagcall.tools import policy_from_text

ODD = 'a "b" \\ \x7f \u00e9 #'


def test_text_is_read_as_it_was_meant(tmp_path: Path) -> None:
    policies = [policy_from_text(text) for text in ("sales_report", "ml_*", "tag:mcp", f"tag:{ODD}")]
    airflow = {"url": "https://airflow.example/team", "username": ODD, "password_file": "airflow-password"}
    path = tmp_path / "dagcall.toml"
    path.write_text(
        settings_text(airflow, policies, descriptions={"sales_report": "Sums up #sales."}, pins="tool_schemas"),
        encoding="utf-8",
    )

    settings = load_settings(path)

    assert (settings.airflow.url, settings.airflow.username) == ("https://airflow.example/team", ODD)
    assert settings.airflow.password_file == tmp_path / "airflow-password"
    assert settings.pins == tmp_path / "tool_schemas"
    assert list(settings.policies) == policies


def test_text_says_what_each_line_is_for() -> None:
    policies = [policy_from_text("sales_report"), policy_from_text("tag:mcp")]
    text = settings_text(
        {"url": "http://127.0.0.1:8080", "token_file": "/run/token"},
        policies,
        descriptions={"sales_report": "Sums up the sales."},
        pins=None,
    )
    assert text == (
        "# Settings of dagcall. `dagcall config` shows all of them, `dagcall doctor` tries them.\n"
        "\n"
        "[airflow]\n"
        'url = "http://127.0.0.1:8080"\n'
        'token_file = "/run/token"  # contains only the token; reread when Airflow refuses the old one\n'
        "\n"
        "# The allow-list: each entry publishes dags as tools, and nothing else can be called.\n"
        '# `dag` names one dag, `dags` is a pattern such as "ml_*", `tag` is a tag in Airflow.\n'
        "\n"
        "[[tools]]\n"
        'dag = "sales_report"  # Sums up the sales.\n'
        "\n"
        "[[tools]]\n"
        'tag = "mcp"\n'
    )
