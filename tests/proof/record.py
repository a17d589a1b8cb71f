"""The findings of the suites: one JSON file each, with the day and the machine."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "proof"


def write(suite: str, findings: dict[str, Any], *, seconds: float) -> None:
    """Keep what a whole run of a suite found.

    `findings` is JSON; its shape is between the suite and its `section.py`.
    """
    from tests.proof import page  # noqa: PLC0415 - the sections import the suites, which import this

    FOLDER.mkdir(parents=True, exist_ok=True)
    stamped = {
        "date": datetime.now(UTC).date().isoformat(),  # noqa: TID251 - the day of the run
        "machine": machine.facts(),
        "seconds": round(seconds),
        "findings": findings,
    }
    (FOLDER / f"{suite}.json").write_text(json.dumps(stamped, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page.write()


def read(suite: str) -> dict[str, Any] | None:
    """Return what the last whole run of a suite found, with `date`, `machine` and `seconds`; none if it never ran."""
    path = FOLDER / f"{suite}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None
