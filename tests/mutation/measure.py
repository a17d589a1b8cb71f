"""One measurement from start to end: make the mutants, run them, count.

What is found is kept in `.mutation/`: for each module its verdicts, and a text with the mutants that survived.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.equivalents import EQUIVALENTS, reason
from tests.mutation.modules import MODULES
from tests.mutation.mutants import Mutant, mutated

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "server" / "dagcall"
FOLDER = ROOT / ".mutation"
SURVIVED, KILLED, TIMED_OUT = "survived", "killed", "timed out"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    outcome: str
    reason: str | None
    """Why it is the same as the code; None if it is not."""


def measure(modules: Sequence[str], *, only_survivors: bool = False) -> dict[str, list[Verdict]]:
    """Return what became of the mutants of these modules.

    Args:
        modules: their names.
        only_survivors: run only those that are not known to be killed. For work on the tests: tests that are added
            let nothing live that was killed without them. And to go on where a run was stopped.
    """
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
        return _measure(modules, Path(scratch), only_survivors=only_survivors)


def _measure(modules: Sequence[str], scratch: Path, *, only_survivors: bool) -> dict[str, list[Verdict]]:
    package = scratch / "dagcall"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    mutants: dict[str, list[Mutant]] = {}
    known: dict[str, dict[str, str]] = {}
    plan: dict[str, list[tuple[str, str]]] = {}
    for module in modules:
        path = f"{module.replace('.', '/')}.py"
        code, mutants[module] = mutated(module, (PACKAGE / path).read_text(encoding="utf-8"))
        (package / path).write_text(code, encoding="utf-8")
        before = _kept(module) if only_survivors else {}
        known[module] = {key: outcome for key, outcome in before.items() if outcome != SURVIVED}
        to_run = [mutant for mutant in mutants[module] if mutant.key not in known[module]]
        plan.setdefault(" ".join(MODULES[module]), []).extend((mutant.name, mutant.function) for mutant in to_run)
    outcomes = _run(plan, scratch)
    for module in modules:
        known[module] |= {mutant.key: outcomes[mutant.name] for mutant in mutants[module] if mutant.name in outcomes}
        keys = {mutant.key for mutant in mutants[module]}
        kept = {key: outcome for key, outcome in known[module].items() if key in keys}
        _file(module).write_text(json.dumps(kept, indent=1), encoding="utf-8")
    if left := sum(mutant.key not in known[module] for module in modules for mutant in mutants[module]):
        raise SystemExit(f"{left} mutants have not run; those that were killed are kept: go on with --survivors")
    return {
        module: [
            Verdict(mutant, known[module][mutant.key], reason(mutant.where, mutant.before, mutant.after))
            for mutant in mutants[module]
        ]
        for module in modules
    }


def counts(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """Return how many mutants of a module were killed, timed out, survived, and how many are the same as the code."""
    found = Counter("equivalent" if v.outcome == SURVIVED and v.reason else v.outcome for v in verdicts)
    return {
        "mutants": found.total(),
        "killed": found[KILLED] + found[TIMED_OUT],
        "timed_out": found[TIMED_OUT],
        "equivalent": found["equivalent"],
        "survived": found[SURVIVED],
    }


def mistaken(verdicts: Mapping[str, Sequence[Verdict]]) -> list[str]:
    """Return what is said to be the same as the code and is not, or is not there any more."""
    every = [verdict for found in verdicts.values() for verdict in found]
    killed = [f"{v.mutant.where}: {v.mutant.after}" for v in every if v.reason and v.outcome != SURVIVED]
    there = {(v.mutant.where, v.mutant.before, v.mutant.after) for v in every}
    gone = [
        f"{equivalent.where}: {equivalent.after}"
        for equivalent in EQUIVALENTS
        if any(equivalent.where.startswith(f"{module}.") for module in verdicts)
        and (equivalent.where, equivalent.before, equivalent.after) not in there
    ]
    return killed + gone


def _run(plan: Mapping[str, Sequence[tuple[str, str]]], scratch: Path) -> dict[str, str]:
    if not any(plan.values()):
        return {}
    (scratch / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    files = sorted({f"tests/unit/{name}.py" for names in plan for name in names.split()})
    options = (
        "-q",
        "-s",
        "--tb=short",
        "--assert=plain",
        "-p",
        "tests.mutation.plugin",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    )
    with contextlib.suppress(KeyboardInterrupt):  # what is known by then is kept
        subprocess.run(  # noqa: S603 - our own tests
            [sys.executable, "-m", "pytest", *options, "-o", "faulthandler_timeout=0", *files],
            cwd=ROOT,
            env=os.environ  # noqa: TID251 - and one more
            | {"PYTHONPATH": str(scratch), "DAGCALL_MUTATION": str(scratch)},
            check=False,
        )
    verdicts = scratch / "verdicts.jsonl"
    lines = verdicts.read_text(encoding="utf-8").splitlines() if verdicts.exists() else []
    return dict(json.loads(line) for line in lines)


def _file(module: str) -> Path:
    return FOLDER / f"{module}.json"


def _kept(module: str) -> dict[str, str]:
    file = _file(module)
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}
