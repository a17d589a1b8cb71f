"""Dag files that Airflow cannot import, as a hint for an operator whose dag is missing.

Pure. Airflow knows no dags of a file that it never imported, so its dags are guessed from its name and from quotations
in its traceback. Only the last line of the traceback is shown, to the operator.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self

from pydantic.dataclasses import dataclass as checked

from dagcall.airflow.model import STRICT
from dagcall.masking import Masker
from dagcall.plain_json import Json
from dagcall.text import in_one_line, last_line, shortened

REDACTED = "REDACTED"
"""The start of a traceback that Airflow hides from this account."""
MAX_REASON_CHARACTERS = 200
MAX_NAMES = 3


@checked(frozen=True, slots=True, config=STRICT)
class BrokenFile:
    """A file that Airflow cannot import."""

    name: str
    """Its path in its dag bundle."""
    traceback: str

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Self:
        """Read one element of `GET /importErrors`."""
        return cls(data["filename"], data["stack_trace"] or "")

    @property
    def reason(self) -> str:
        """The exception, with its line in this file if the traceback names one; not masked."""
        places = re.findall(rf'{re.escape(self.name)}", line (\d+)', self.traceback)
        said = in_one_line(last_line(self.traceback)) or "Airflow gives no reason"
        return f"line {places[-1]}: {said}" if places else said


@dataclass(frozen=True, slots=True)
class ImportErrors:
    """Airflow's import errors."""

    files: Sequence[BrokenFile] = ()
    total: int = 0
    """The total number; `files` may contain fewer."""
    may_be_read: bool = True


def import_hint(errors: ImportErrors, dag_id: str | None, masker: Masker) -> str:
    """Return why a dag may be missing, as the end of a sentence; empty if Airflow shows no reason.

    Args:
        errors: the import errors.
        dag_id: the dag; None if the missing dags are unknown.
        masker: masks secrets.
    """
    for file in errors.files if dag_id else ():
        if _may_hold(file, dag_id or ""):
            return f". The file {file.name} does not import in Airflow{_reason(file, masker)}"
    if not errors.may_be_read:
        return ". Look into Airflow's import errors, too: dagcall's account may not read them"
    if errors.total:
        files = "1 file does" if errors.total == 1 else f"{errors.total} files do"
        names = ", ".join(file.name for file in errors.files[:MAX_NAMES])
        more = ", …" if errors.total > MAX_NAMES else ""
        return f". Look into Airflow's import errors, too: {files} not import ({names}{more})"
    return ""


def _may_hold(file: BrokenFile, dag_id: str) -> bool:
    is_named_alike = _letters(PurePosixPath(file.name).stem) == _letters(dag_id)
    quotes_it = rf"""(["']){re.escape(dag_id)}\1|def {re.escape(dag_id)}\("""
    return is_named_alike or re.search(quotes_it, file.traceback) is not None


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def _reason(file: BrokenFile, masker: Masker) -> str:
    line = last_line(file.traceback)
    if not line or file.traceback.startswith(REDACTED):
        return ""
    return f": {shortened(in_one_line(masker.masked(line)), MAX_REASON_CHARACTERS)}"
