"""Mutants that do the same as the code: `equivalents.toml`, each with its reason."""

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Equivalent:
    """Mutants of one function that change nothing but these lines in this way."""

    where: str
    before: str
    after: str
    because: str


@dataclass(frozen=True, slots=True)
class Anywhere:
    """Mutants of any function that change nothing but this text in this way."""

    text: str
    changed: str
    because: str

    def fits(self, before: str, after: str) -> bool:
        """Say whether one line becomes the other by changing the text in one place."""
        pieces = before.split(self.text)
        return any(
            self.text.join(pieces[:at]) + self.changed + self.text.join(pieces[at:]) == after
            for at in range(1, len(pieces))
        )


_FILE = tomllib.loads((Path(__file__).parent / "equivalents.toml").read_text(encoding="utf-8"))
ANYWHERE = tuple(Anywhere(**entry) for entry in _FILE["anywhere"])
EQUIVALENTS = tuple(Equivalent(**entry) for entry in _FILE["equivalent"])


def reason(where: str, before: str, after: str) -> str | None:
    """Return why a mutant does the same as the code; None if that is not said."""
    for anywhere in ANYWHERE:
        if anywhere.fits(before, after):
            return anywhere.because
    found = (one.because for one in EQUIVALENTS if (one.where, one.before, one.after) == (where, before, after))
    return next(found, None)
