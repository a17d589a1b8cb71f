"""The first `dagcall.toml` of a user: text with comments, from what `dagcall init` learned.

Pure.
"""

import json
from collections.abc import Mapping, Sequence

from dagcall.tools import ToolPolicy

_EXPLAINED = {
    "password_file": "contains only the password",
    "token_file": "contains only the token; reread when Airflow refuses the old one",
    "client_secret_file": "contains only the client's secret",
    "token_command": "prints a token; run again when the token expires",
    "ca_file": "the authorities to trust, instead of the system's",
}
_ALLOW_LIST = """\
# The allow-list: each entry publishes dags as tools, and nothing else can be called.
# `dag` names one dag, `dags` is a pattern such as "ml_*", `tag` is a tag in Airflow."""


def settings_text(
    airflow: Mapping[str, str], policies: Sequence[ToolPolicy], *, descriptions: Mapping[str, str], pins: str | None
) -> str:
    """Return the text of a settings file.

    Args:
        airflow: the keys of `[airflow]`, without secrets.
        policies: what to publish.
        descriptions: dag id -> one line about it.
        pins: the folder of pins; None without pins.
    """
    blocks = [
        "# Settings of dagcall. `dagcall config` shows all of them, `dagcall doctor` tries them.",
        *([_pins(pins)] if pins else []),
        _table("[airflow]", airflow, {key: f"  # {text}" for key, text in _EXPLAINED.items()}),
        _ALLOW_LIST,
        *(_entry(policy, descriptions.get(policy.dag or "")) for policy in policies),
    ]
    return "\n\n".join(blocks) + "\n"


def _pins(folder: str) -> str:
    return (
        "# Only tools that equal their file in this folder are published; `dagcall pin` accepts a change.\n"
        f"pins = {_quoted(folder)}"
    )


def _entry(policy: ToolPolicy, description: str | None) -> str:
    selected = {key: value for key in ("dag", "dags", "tag") if (value := getattr(policy, key)) is not None}
    return _table("[[tools]]", selected, {"dag": f"  # {description}"} if description else {})


def _table(head: str, values: Mapping[str, str], comments: Mapping[str, str]) -> str:
    return "\n".join([head, *(f"{key} = {_quoted(value)}{comments.get(key, '')}" for key, value in values.items())])


def _quoted(text: str) -> str:
    """Return a TOML string; JSON's are the same, except for one character that JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
