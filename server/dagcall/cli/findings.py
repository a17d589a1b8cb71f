"""What `dagcall lint` reads, and how it shows its findings. Slow to import."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dagcall.app import assembled
from dagcall.cli.reading import read_snapshot, require_answer
from dagcall.cli.serve import HTTP_WAIT_SECONDS, STDIO_WAIT_SECONDS
from dagcall.dag_files import DagFiles
from dagcall.lint import Evidence, Finding, Level, Transport, read_recent_runs
from dagcall.settings import Settings
from dagcall.text import visible


async def look(settings: Settings, files: DagFiles | None) -> Evidence:
    """Read the tools, from dag files or from Airflow; from Airflow also what recent runs were like.

    Raises:
        ConfigError: Airflow does not answer.
    """
    limit = settings.server.max_result_bytes
    if files is not None:
        snapshot = require_answer(await read_snapshot(settings, files=files))
        return Evidence(snapshot, broken=files.broken, max_result_bytes=limit)
    async with assembled(settings, wait_seconds=0) as dagcall:
        snapshot = require_answer(await dagcall.catalog.refresh())
        recent = await read_recent_runs(
            dagcall.waiter.api, snapshot.tools.values(), max_answer_bytes=settings.airflow.max_answer_bytes
        )
    own_wait = settings.server.wait_seconds
    waits: dict[Transport, float] = {"stdio": own_wait or STDIO_WAIT_SECONDS, "http": own_wait or HTTP_WAIT_SECONDS}
    return Evidence(snapshot, recent=recent, max_result_bytes=limit, wait_seconds=waits)


def show_findings(findings: Sequence[Finding], evidence: Evidence) -> None:
    """Print a table of findings and one of what each tool costs."""
    console = Console()
    if findings:
        table = Table(title="findings", title_justify="left")
        for heading in ("tool, dag or file", "rule", "what is wrong", "what to write instead"):
            table.add_column(heading, overflow="fold")
        last = None
        for finding in findings:
            if last not in {None, finding.subject}:
                table.add_section()
            name = "" if finding.subject == last else finding.subject
            rule = f"{finding.level}: {finding.rule}"
            table.add_row(*(Text(visible(cell)) for cell in (name, rule, finding.what, finding.instead)))
            last = finding.subject
        console.print(table)
    tokens = sorted(evidence.tokens.items(), key=lambda item: -item[1])
    costs = Table("tool", "tokens", title="tokens, estimated", title_justify="left", show_footer=True)
    costs.columns[0].footer, costs.columns[1].footer = "all", f"{sum(evidence.tokens.values()):,}"
    costs.columns[1].justify = "right"
    for name, count in tokens:
        costs.add_row(Text(visible(name)), f"{count:,}")
    console.print(costs)
    counts = Counter(finding.level for finding in findings)
    parts = [f"{counts[level]} {level}{'' if counts[level] == 1 else 's'}" for level in Level if counts[level]]
    console.print(", ".join(parts) if parts else "Nothing to change.")
