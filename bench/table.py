"""Rows and columns: a row is one figure, a column is one way to get a dag's result."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

DAGCALL = "dagcall"
SCRIPT = "script"
ASTRO = "astro-airflow-mcp"
BARE = "bare SDK server"
TRIGGER_ONLY = "trigger only"
COLUMNS = (DAGCALL, SCRIPT, ASTRO, BARE, TRIGGER_ONLY)


@dataclass(frozen=True)
class NotMeasured:
    """What stands where a figure is missing."""

    reason: str


Value = float | NotMeasured


@dataclass
class Row:
    """One figure of each column that has one."""

    section: str
    what: str
    unit: str
    at_most: float | None = None
    """What dagcall's figure should not exceed; shown, and never enforced."""
    at_least: float | None = None
    cells: dict[str, Value] = field(default_factory=dict)

    def is_met(self) -> bool | None:
        """Say whether dagcall's figure is as wished; None where there is no wish or no figure."""
        value = self.cells.get(DAGCALL)
        if value is None or isinstance(value, NotMeasured) or (self.at_most is None and self.at_least is None):
            return None
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)

    def goal(self) -> str:
        """Return the wish as text."""
        if self.at_most is not None:
            return f"≤ {number(self.at_most)}"
        return "" if self.at_least is None else f"≥ {number(self.at_least)}"


@dataclass
class Table:
    """All rows of a run."""

    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def put(
        self,
        section: str,
        what: str,
        unit: str,
        column: str,
        value: Value,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> None:
        """Enter one figure; the goal is dagcall's."""
        row = self.rows.setdefault((section, what), Row(section, what, unit))
        row.cells[column] = value
        row.at_most = row.at_most if at_most is None else at_most
        row.at_least = row.at_least if at_least is None else at_least

    def remark(self, text: str) -> None:
        """Add a sentence that a reader of the figures needs."""
        if text not in self.remarks:
            self.remarks.append(text)

    def sections(self) -> Iterator[tuple[str, list[Row]]]:
        """Yield the rows, those of a section together."""
        for section in dict.fromkeys(row.section for row in self.rows.values()):
            yield section, [row for row in self.rows.values() if row.section == section]

    def show(self, console: Console, machine: dict[str, Any]) -> None:
        """Print everything."""
        shown = RichTable(title=", ".join(f"{key} {value}" for key, value in machine.items()), title_justify="left")
        shown.add_column("", no_wrap=True)
        for column in (*COLUMNS, "wanted"):
            shown.add_column(column, justify="right")
        for section, rows in self.sections():
            shown.add_section()
            shown.add_row(f"[bold]{section}")
            for row in rows:
                cells = [_cell(row, column) for column in COLUMNS]
                shown.add_row(f"  {row.what}{f' ({row.unit})' if row.unit else ''}", *cells, row.goal())
        console.print(shown)
        for row in self.rows.values():
            for column, value in row.cells.items():
                if isinstance(value, NotMeasured):
                    console.print(f"{row.section}, {row.what}, {column}: not measured: {value.reason}", markup=False)
        for text in self.remarks:
            console.print(text, markup=False)

    def write(self, path: Path, about: dict[str, Any]) -> None:
        """Write everything as JSON: `{…about, "rows": [{"section": …, "what": …, "figures": {column: 1.5}}]}`."""
        rows = [
            {
                "section": row.section,
                "what": row.what,
                "unit": row.unit,
                "wanted": row.goal(),
                "is_met": row.is_met(),
                "figures": {column: _json(value) for column, value in row.cells.items()},
            }
            for _, rows in self.sections()
            for row in rows
        ]
        text = json.dumps(about | {"remarks": self.remarks, "rows": rows}, indent=2, ensure_ascii=False)
        path.write_text(text + "\n")


def number(value: float) -> str:
    """Return a number with as many digits as say something."""
    for least, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= least:
            return f"{value:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:,.0f}"
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _cell(row: Row, column: str) -> str:
    value = row.cells.get(column)
    if value is None:
        return ""
    if isinstance(value, NotMeasured):
        return "[dim]not measured"
    colour = {True: "[green]", False: "[red]", None: ""}[row.is_met() if column == DAGCALL else None]
    return colour + number(value)


def _json(value: Value) -> Any:
    return {"not_measured": value.reason} if isinstance(value, NotMeasured) else round(value, 4)


def percentile(values: list[float], share: float) -> float:
    """Return the smallest value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
