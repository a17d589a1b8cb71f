"""What clients that others wrote can do with dagcall: a part of docs/proof.md."""

import json
import re
from pathlib import Path
from typing import Any

from tests.clients.table import ACTIONS, CLIENTS, TRANSPORTS, Client, trials
from tests.e2e.environments import REQUIREMENTS

HERE = Path(__file__).parent


def findings() -> dict[str, Any]:
    """Return what a whole run shows that has passed."""
    return {"trials": len(list(trials())), "clients": [found_of(client) for client in CLIENTS]}


def found_of(client: Client) -> dict[str, Any]:
    """Return what a client can do: by action and transport, "" or why it cannot."""
    return {
        "name": client.name,
        "versions": {package: version_of(client, package) for package in client.packages},
        "to_know": client.to_know,
        "cannot": {
            action: {transport: client.why_not(action, transport) for transport in TRANSPORTS} for action in ACTIONS
        },
    }


def version_of(client: Client, package: str) -> str:
    """Return the version that a client's environment has of a package."""
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
    return (
        f"{len(clients)} clients, {found['trials']} trials over HTTP and stdio: each was right by Airflow's own record."
        f" What each can do: [clients.md](clients.md).\n\n{', '.join(versions)}."
    )
