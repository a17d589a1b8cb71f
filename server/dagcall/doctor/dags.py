"""The dags of the allow-list: which of them can be called, and why the others cannot.

Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dagcall.airflow import DagSummary
from dagcall.doctor.finding import Finding, failure, listed, ok, skipped, warning

MANY = 50
"""Up to so many dags are read one by one, to see whether each makes a tool."""


@dataclass(frozen=True, slots=True)
class AllowList:
    """What the allow-list selects."""

    entries: int
    dags: Sequence[DagSummary] = ()
    broken: Sequence[str] = ()
    """Dags that an entry selects, but whose files Airflow can no longer import."""
    missing: Mapping[str, str] | None = None
    """A dag id or selector -> why it selects nothing."""
    chosen: str = ""
    """The dag on which rights are checked; empty if there is none."""
    is_chosen_missing: bool = False
    """Whether Airflow does not show the dag that was named on the command line."""


def judge_allow_list(facts: AllowList) -> Finding:
    """Judge whether the allow-list selects anything."""
    if facts.is_chosen_missing:
        return failure(
            f"there is no dag {facts.chosen} in Airflow, or dagcall's account may not see it",
            "Name a dag that `dagcall tools` shows",
        )
    if not facts.entries and not facts.chosen:
        return failure("it is empty: nothing is published", "Add [[tools]] to the settings, or set DAGCALL_DAGS")
    if not facts.chosen:
        return failure(
            f"it selects no dag: {_with_reasons(facts.missing or {})}",
            "Check the dag ids, then whether Airflow shows them to dagcall's account",
        )
    count = "1 dag" if len(facts.dags) == 1 else f"{len(facts.dags)} dags"
    return ok(f"selects {count}; rights are checked on {facts.chosen}")


def judge_missing(facts: AllowList) -> Finding:
    """Judge whether every entry of the allow-list selects something."""
    if facts.missing:
        return failure(
            _with_reasons(facts.missing), "Check the ids and tags, then the account's rights, then the files"
        )
    return ok("every entry selects a dag")


def judge_paused(facts: AllowList) -> Finding:
    """Judge whether dags are paused."""
    if paused := [dag.dag_id for dag in facts.dags if dag.is_paused]:
        return warning(
            f"{listed(paused)}: not published, because runs would stay queued",
            f"Unpause in Airflow what agents should call (airflow dags unpause {paused[0]})",
        )
    return ok("none")


def judge_broken(facts: AllowList) -> Finding:
    """Judge whether dags cannot run because of their files."""
    stale = [dag.dag_id for dag in facts.dags if dag.is_stale and not dag.has_import_errors]
    if facts.broken:
        return failure(
            f"{listed(list(facts.broken))}: Airflow cannot import the file",
            "Repair it; Airflow's UI shows the traceback",
        )
    if stale:
        return failure(f"{listed(stale)}: no longer in Airflow's dag folders", "Restore the file, or remove the entry")
    return ok("none")


@dataclass(frozen=True, slots=True)
class BrokenFiles:
    """Files that Airflow cannot import, with the last line of the traceback of each, as far as it is shown."""

    files: Sequence[str] = ()
    total: int = 0
    may_be_read: bool = True


def judge_files(facts: BrokenFiles) -> Finding:
    """Judge whether Airflow has import errors, in any file."""
    if not facts.may_be_read:
        return skipped("dagcall's account may not read Airflow's import errors")
    if not facts.total:
        return ok("none")
    count = "1 file does" if facts.total == 1 else f"{facts.total} files do"
    return warning(
        f"{count} not import: {listed(list(facts.files), 3)}", "Repair them: their dags are missing, or outdated"
    )


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of the dags."""

    dags: int
    published: int | None = None
    """None if there are too many dags to read them all here."""
    withheld: Mapping[str, str] | None = None
    """Dag id -> why it is not published, for other reasons than those of other checks."""
    left_out: Mapping[str, str] | None = None
    """Dag id and a part of it -> why its tool is published without this part."""
    pins: str | None = None
    """The folder of pins; None for none."""
    differences: Mapping[str, str] | None = None
    """Tool name -> how it differs from its pin."""
    pins_problem: str = ""
    """Why the pins cannot be read."""


def judge_tools(facts: Tools) -> Finding:
    """Judge whether each dag makes a tool."""
    if facts.published is None:
        return skipped(f"{facts.dags} dags would take as many requests", "Run: dagcall tools")
    advice = "Change the dag or its entry; `dagcall tools` shows all"
    if facts.withheld:
        return failure(_with_reasons(facts.withheld), advice)
    if facts.left_out:
        return warning(_with_reasons(facts.left_out), advice)
    return ok(f"{facts.published} published" if facts.published else "none published")


def judge_pins(facts: Tools) -> Finding:
    """Judge whether the tools equal their pins."""
    if facts.pins is None:
        return skipped("the settings name no folder of pins")
    if facts.pins_problem:
        return failure(facts.pins_problem, "Run: dagcall pin")
    if facts.published is None:
        return skipped(f"{facts.dags} dags would take as many requests", "Run: dagcall check")
    if facts.differences:
        return failure(
            f"{listed(list(facts.differences))}: not as reviewed in {facts.pins}, and withheld",
            "Run `dagcall check`, review the changes, then run `dagcall pin`",
        )
    return ok(f"all tools equal those in {facts.pins}")


def _with_reasons(reasons: Mapping[str, str], most: int = 3) -> str:
    """Return some names with a reason each, and how many more there are."""
    more = f"; and {len(reasons) - most} more" if len(reasons) > most else ""
    return "; ".join(f"{what}: {reason}" for what, reason in list(reasons.items())[:most]) + more
