"""Mutants that do the same as the code, so that no test can see them. Each has a reason; they are not counted.

One that a test does see after all fails the run: then its reason is wrong.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Equivalent:
    """Mutants of one function that change nothing but these lines in this way."""

    where: str
    before: str
    after: str
    because: str


EQUIVALENTS = (
    Equivalent(
        "naming._changed",
        "if not readable[:1].isalpha():",
        "if not readable[:2].isalpha():",
        "Where the first character is a letter, there is nothing to strip.",
    ),
    Equivalent(
        "naming._changed",
        'digest = hashlib.sha256(original.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]',
        'digest = hashlib.sha256(original.encode("UTF-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]',
        "Names of encodings have no case.",
    ),
)
