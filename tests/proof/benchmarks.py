"""What `make bench` measured last, for docs/benchmarks.md."""

import json
import textwrap
from typing import Any

from tests.proof import record
from tests.proof.markdown import table

RESULTS = record.ROOT / "bench" / "results.json"
COLUMNS = ("dagcall", "script", "astro-airflow-mcp", "bare SDK server", "trigger only")


def section() -> str:
    """Return the figures, with their date and machine."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows: list[tuple[str, ...]] = []
    group = ""
    for row in results["rows"]:
        if row["section"] != group:
            group = row["section"]
            rows.append((f"**{group}**", *("" for _ in COLUMNS), ""))
        what = row["what"] + (f" ({row['unit']})" if row["unit"] else "")
        wanted = row["wanted"] + (", missed" if row["is_met"] is False else "")
        rows.append((what, *(figure(row["figures"][c]) if c in row["figures"] else "" for c in COLUMNS), wanted))
    machine = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    lines = textwrap.fill(f"Measured on {results['date']}: {machine}.", 120)
    return f"{lines}\n\n{table(('', *COLUMNS, 'wanted'), rows)}\n"


def figure(value: Any) -> str:
    """Return a number with three digits, or that there is none."""
    if isinstance(value, dict):
        return "not measured"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
