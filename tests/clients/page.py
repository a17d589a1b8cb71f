"""`docs/clients.md`: which client can do what, written from the findings of the last whole run."""

from typing import Any

from tests.proof import record
from tests.proof.page import table

PAGE = record.ROOT / "docs" / "clients.md"
COLUMNS = {
    "list": "list",
    "call": "call",
    "progress": "progress",
    "failure": "failure",
    "repeat": "time-out, then the same call",
    "question": "question",
    "large": "large result",
    "cancel": "cancel",
}
HEAD = """\
# Clients

What clients that others wrote can do with dagcall. `make clients` runs each in an environment of its own, pinned, over
HTTP and stdio, in front of a real Airflow, and holds what it saw against Airflow's own record. Where there is a model,
it is scripted. The command writes this page.

| column | what was tried |
|---|---|
| list | all tools arrive |
| call | the answer has the result of the one run that Airflow has |
| progress | while the call goes on, the client is told how far the run is |
| failure | the model reads which task failed, and its exception |
| time-out, then the same call | the client gives up and calls again: there is one run, whose result it gets |
| question | the client asks its user what the run asks; where it cannot, the model reads where a person can answer |
| large result | 1.5 MB of rows: the model reads a preview, and with `read_dag_result` the last rows |
| cancel | the client cancels the call of a tool with `on_cancel = "fail"`: the run is set to failed |

"""


def write() -> None:
    """Write the page."""
    PAGE.write_text(render(), encoding="utf-8")


def render() -> str:
    """Return the whole page."""
    found: dict[str, Any] = (record.read("clients") or {})["findings"]
    notes: list[str] = []

    def note(why: str) -> str:
        if why not in notes:
            notes.append(why)
        return f"no [{notes.index(why) + 1}]"

    def cell(whys: dict[str, str | None]) -> str:
        words = {transport: "yes" if why is None else note(why) for transport, why in whys.items()}
        alike = set(words.values())
        return alike.pop() if len(alike) == 1 else ", ".join(f"{one}: {word}" for one, word in words.items())

    rows = [
        [
            client["name"],
            ", ".join(f"{name} {version}" for name, version in client["versions"].items()),
            *(cell(client["cannot"][action]) for action in COLUMNS),
            client["to_know"],
        ]
        for client in found["clients"]
    ]
    parts = [HEAD, table(["client", "versions", *COLUMNS.values(), "to know"], rows), "\n\n"]
    parts += [f"{number}. {why[0].upper()}{why[1:]}.\n" for number, why in enumerate(notes, 1)]
    return "".join(parts)
