"""`[limits]`, `[audit]` and `[[accounts]]`: the settings that say how far callers may go, and what is kept of it.

Parts of the settings like the others.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dagcall.auth import Selectors
from dagcall.plain_json import MAX_BYTES

STDERR = Path("stderr")


class LimitSettings(BaseModel):
    """`[limits]`: how much one caller may do. Each process counts for itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calls_per_minute: Annotated[int, Field(ge=1)] | None = None
    """How many runs one caller may start of one tool within a minute; a retry that gets the run that is there does not
    count. Each process counts for itself."""
    max_concurrent: Annotated[int, Field(ge=1)] | None = None
    """How many unfinished runs of one tool one caller may have, of those that this process started."""
    max_argument_bytes: Annotated[int, Field(ge=1_000, le=MAX_BYTES)] = 100_000
    """How large the arguments of a call may be, as JSON."""


class AuditSettings(BaseModel):
    """`[audit]`: one line of JSON for each call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path | None = None
    """Where the lines go: a file, opened anew when it is renamed, or `stderr`. Else nowhere."""
    arguments: Literal["digest", "full", "none"] = "digest"
    """What of the arguments is written: a keyed digest, themselves with what looks like a secret masked, or nothing."""


class AccountSettings(BaseModel):
    """One `[[accounts]]` entry: in whose name Airflow starts, stops and answers the runs of some callers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    callers: Selectors
    """Whose, as in `[[tools]]`. The first entry that fits counts; where there are entries, nobody else may call."""
    username: Annotated[str | None, Field(min_length=1)] = None
    """A user of Airflow who logs in at /auth/token, with password_file."""
    password_file: Path | None = None
    """A file that holds the password and nothing else."""
    token_file: Path | None = None
    """A file that holds a bearer token of Airflow, in place of a user name; read anew when Airflow refuses it."""
    is_own: bool = False
    """dagcall's own account acts for these callers."""

    @model_validator(mode="after")
    def _require_one_account(self) -> Self:
        ways = [self.username is not None, self.token_file is not None, self.is_own]
        if sum(ways) != 1 or (self.username is None) != (self.password_file is None):
            raise ValueError("give username and password_file, or token_file, or is_own = true")
        return self

    @property
    def name(self) -> str:
        """What messages call the account."""
        return self.username or (self.token_file.name if self.token_file else "dagcall's own")
