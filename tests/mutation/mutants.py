"""A module's source -> the same module with all its mutants in it, one of which can be switched on.

Mutated is what stands in a function or method without a decorator: mutmut leaves constants of modules, properties and
context managers as they are.
"""

import difflib
import hashlib
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

from mutmut.mutation.file_mutation import mutate_file_contents


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one function."""

    name: str
    """As mutmut switches it on."""
    function: str
    """The function as mutmut calls it, with its module."""
    where: str
    """The function as people call it: `tools.naming.tool_name`, `runs.ledger.Ledger.begin`."""
    before: str
    """The lines that are changed, each without its indent."""
    after: str
    """What they are changed to."""
    source: str
    """A hash of the function as it was."""

    @property
    def key(self) -> str:
        """What tells the mutant from others, and stays the same while its function does."""
        return "\n".join((self.where, self.source, self.name.rpartition("__mutmut_")[2]))


def mutated(module: str, source: str) -> tuple[str, list[Mutant]]:
    """Return the module's source with all its mutants, and the mutants."""
    made = mutate_file_contents(f"dagcall/{module.replace('.', '/')}.py", source)
    lines = made.code.splitlines()

    def text(function: str) -> str:
        span = made.line_span_by_function_name[function]
        body = textwrap.dedent("\n".join(lines[span.start - 1 : span.end]))
        return body.replace(function, _plain(function)[-1])

    mutants = []
    for name in made.mutant_names:
        function = name.partition("__mutmut_")[0]
        original = text(f"{function}__mutmut_orig")
        before, after = _changed(original, text(name))
        mutants.append(
            Mutant(
                name=f"dagcall.{module}.{name}",
                function=f"dagcall.{module}.{function}",
                where=".".join((module, *_plain(function))),
                before=before,
                after=after,
                source=hashlib.sha256(original.encode()).hexdigest()[:12],
            )
        )
    return made.code, mutants


def _plain(function: str) -> list[str]:
    name = function.partition("__mutmut_")[0]
    return name.split("ǁ")[1:] if "ǁ" in name else [name.removeprefix("x_")]


def _changed(original: str, mutant: str) -> tuple[str, str]:
    marks: Mapping[str, list[str]] = {"-": [], "+": []}
    for line in difflib.ndiff(original.splitlines(), mutant.splitlines()):
        if line[0] in marks:
            marks[line[0]].append(line[2:].strip())
    return "\n".join(marks["-"]), "\n".join(marks["+"])
