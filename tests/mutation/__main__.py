"""`python -m tests.mutation [MODULE …] [--survivors]`: measure, tell, and keep the figures for docs/proof.md.

Without modules it measures all. With `--survivors` it runs only the mutants that are not known to be killed.
"""

import sys
import time
from datetime import UTC, datetime

from tests.mutation.measure import FOLDER, SURVIVED, Verdict, counts, measure, mistaken
from tests.mutation.modules import MODULES
from tests.mutation.section import section
from tests.proof import record


def main() -> None:
    """Run one measurement."""
    only_survivors = "--survivors" in sys.argv[1:]
    modules = [word for word in sys.argv[1:] if word != "--survivors"] or list(MODULES)
    if unknown := [module for module in modules if module not in MODULES]:
        raise SystemExit(f"not among the mutated modules: {', '.join(unknown)}. These are: {', '.join(MODULES)}")
    began = time.monotonic()
    verdicts = measure(modules, only_survivors=only_survivors)
    seconds = time.monotonic() - began
    _tell(verdicts)
    before = record.read("mutation")
    known = before["findings"]["modules"] if before else {}
    figures = {module: row for module, row in known.items() if module in MODULES}
    total = sum(map(len, verdicts.values()))
    for module, found in verdicts.items():
        took = seconds * len(found) / total
        if only_survivors and module in known:
            took += known[module]["seconds"]
        today = datetime.now(UTC).date().isoformat()  # noqa: TID251 - the day of the run
        figures[module] = counts(found) | {"date": today, "seconds": round(took)}
    sys.stdout.write(section({"modules": {module: figures[module] for module in modules}}) + "\n")
    record.write("mutation", {"modules": figures}, seconds=sum(row["seconds"] for row in figures.values()))
    if wrong := mistaken(verdicts):
        raise SystemExit("said to be equivalent, but killed or gone:\n" + "\n".join(wrong))


def _tell(verdicts: dict[str, list[Verdict]]) -> None:
    """Write down the mutants that survived."""
    for module, found in verdicts.items():
        lines = [
            f"{verdict.mutant.where}\n- {verdict.mutant.before}\n+ {verdict.mutant.after}\n"
            for verdict in found
            if verdict.outcome == SURVIVED and verdict.reason is None
        ]
        (FOLDER / f"{module}.txt").write_text("\n".join(lines), encoding="utf-8")
    sys.stdout.write(f"The mutants that survived stand in {FOLDER}, one file for each module.\n\n")


main()
