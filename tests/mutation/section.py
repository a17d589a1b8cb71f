"""The part of docs/proof.md that says how many mutants the tests kill."""

from typing import Any

from tests.mutation.modules import GROUPS
from tests.proof.markdown import table


def section(findings: dict[str, Any]) -> str:
    """Return the section."""
    modules: dict[str, dict[str, Any]] = findings["modules"]
    groups = {group: [modules[module] for module in members if module in modules] for group, members in GROUPS.items()}
    by_group = [
        (group, len(found), *_cells({key: sum(row[key] for row in found) for key in COUNTS}))
        for group, found in groups.items()
        if found
    ]
    by_module = [
        (group, f"`{module}`", *_cells(modules[module]), modules[module]["date"])
        for group, members in GROUPS.items()
        for module in members
        if module in modules
    ]
    missing = [f"`{module}`" for members in GROUPS.values() for module in members if module not in modules]
    return "\n\n".join(
        [
            HEAD,
            table(("group", "modules", *HEADINGS), by_group),
            table(("group", "module", *HEADINGS, "measured"), by_module),
            *([f"Not measured: {', '.join(missing)}."] if missing else []),
        ]
    )


HEAD = """\
Small faults are put into the pure modules one by one ([mutmut](https://github.com/boxed/mutmut) makes them), and the
tests that are about the module should see each: killed / (mutants - equivalent). A mutant that never ends counts as
killed. Equivalent ones do the same as the code; each stands with its reason in
[equivalents.toml](../tests/mutation/equivalents.toml). Constants of modules, properties and context managers are not
mutated; nor are the modules that talk to somebody, which the other suites try. A module's figures are those of the day
on which it was measured last; mutants that had survived ran again after tests were added."""
COUNTS = ("mutants", "killed", "timed_out", "equivalent", "survived")
HEADINGS = ("mutants", "killed", "of these timed out", "equivalent", "survived", "killed, %")


def _cells(counts: dict[str, Any]) -> list[object]:
    seen = counts["mutants"] - counts["equivalent"]
    return [*(counts[key] for key in COUNTS), f"{100 * counts['killed'] / seen:.1f}" if seen else "-"]
