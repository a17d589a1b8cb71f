"""The findings about third-party clients: a part of docs/proof.md, and the page docs/clients-tested.md."""

import json
import re
from pathlib import Path
from typing import Any

from tests.clients.table import ACTIONS, CLIENTS, TRANSPORTS, Client, trials
from tests.proof.markdown import table
from tests.support.environments import REQUIREMENTS

HERE = Path(__file__).parent
COLUMNS = {
    "list": "list",
    "call": "call",
    "progress": "progress",
    "failure": "failure",
    "repeat": "timeout, then the same call",
    "question": "question",
    "large": "large result",
    "cancel": "cancel",
}
UNPROVED = "the last trial failed"
HEAD = """\
# Tested clients

What third-party clients can do with dagcall; [clients.md](clients.md) describes how to connect them. `make clients`
runs each client in its own pinned environment, over HTTP and stdio, against a real Airflow, and compares the client's
answers with Airflow's records. Models are replaced by scripts.

| column | what was tested |
|---|---|
| list | the client gets all tools |
| call | the answer is the result of the only run in Airflow |
| progress | the client receives progress during the call |
| failure | the model reads which task failed, and its exception |
| timeout, then the same call | the client times out and repeats its call: it gets the result of the only run |
| question | the client asks its user the run's question; if it cannot, the model reads where a person can answer |
| large result | 1.5 MB of rows: the model reads a preview, then the last rows with `read_dag_result` |
| cancel | the client cancels the call of a tool with `on_cancel = "fail"`: the run is set to failed |

"""


def findings(passed: set[str]) -> dict[str, Any]:
    """Return the findings about all clients.

    Args:
        passed: the keys of the trials that passed.
    """
    return {"clients": [found_of(client) | {"passed": passed_by(client, passed)} for client in CLIENTS]}


def found_of(client: Client) -> dict[str, Any]:
    """Return a client's entry in the table, with the reasons for what it cannot do."""
    return {
        "name": client.name,
        "versions": {package: version_of(client, package) for package in client.packages},
        "to_know": client.to_know,
        "cannot": {
            action: {transport: client.why_not(action, transport) for transport in TRANSPORTS} for action in ACTIONS
        },
    }


def passed_by(client: Client, passed: set[str]) -> list[str]:
    """Return a client's passed trials, as transport and action."""
    own = [trial for trial in trials() if trial.client == client and trial.key in passed]
    return [f"{trial.transport} {trial.action}" for trial in own]


def still_passed(before: dict[str, Any] | None) -> set[str]:
    """Return the keys of the trials that an earlier run passed, for clients whose table entry is unchanged."""
    known = {client["name"]: client for client in (before or {}).get("clients", [])}
    return {
        trial.key
        for trial in trials()
        if (client := known.get(trial.client.name)) is not None
        and found_of(trial.client) | {"passed": client["passed"]} == client
        and f"{trial.transport} {trial.action}" in client["passed"]
    }


def version_of(client: Client, package: str) -> str:
    """Return the version of a package in a client's environment."""
    if client.is_of_node:
        lock = json.loads((HERE / client.environment / "package-lock.json").read_text(encoding="utf-8"))
        return str(lock["packages"][f"node_modules/{package}"]["version"])
    text = (REQUIREMENTS / f"{client.environment}.txt").read_text(encoding="utf-8")
    (version,) = re.findall(rf"^{re.escape(package)}==(\S+)", text, re.MULTILINE)
    return str(version)


def section(found: dict[str, Any]) -> str:
    """Return the part of docs/proof.md."""
    clients = found["clients"]
    versions = sorted({f"{name} {version}" for client in clients for name, version in client["versions"].items()})
    count = sum(len(client["passed"]) for client in clients)
    return (
        f"{len(clients)} clients, over HTTP and stdio: {count} trials passed by Airflow's own records,"
        f" {len(list(trials())) - count} failed. What each client can do: [clients-tested.md](clients-tested.md).\n\n"
        f"{', '.join(versions)}."
    )


def details(found: dict[str, Any]) -> str:
    """Return the table of docs/clients-tested.md."""
    notes: list[str] = []

    def note(why: str) -> str:
        if why not in notes:
            notes.append(why)
        return f"no [{notes.index(why) + 1}]"

    def cell(client: dict[str, Any], action: str) -> str:
        words = {
            transport: note(why) if why else "yes" if f"{transport} {action}" in client["passed"] else note(UNPROVED)
            for transport, why in client["cannot"][action].items()
        }
        alike = set(words.values())
        return alike.pop() if len(alike) == 1 else ", ".join(f"{one}: {word}" for one, word in words.items())

    rows = [
        [
            client["name"],
            ", ".join(f"{name} {version}" for name, version in client["versions"].items()),
            *(cell(client, action) for action in COLUMNS),
            client["to_know"],
        ]
        for client in found["clients"]
    ]
    parts = [table(["client", "versions", *COLUMNS.values(), "notes"], rows), "\n\n"]
    parts += [f"{number}. {why[0].upper()}{why[1:]}.\n" for number, why in enumerate(notes, 1)]
    return "".join(parts)
