"""`[limits]`, `[audit]`, `[log]` and `[[accounts]]`: quotas of callers, logs, and Airflow accounts for callers."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dagcall.auth import Selectors
from dagcall.plain_json import MAX_BYTES
from dagcall.settings.log_in import LogInSettings

STDERR = Path("stderr")
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]


class LimitSettings(BaseModel):
    """`[limits]`: how much one caller may do. Each process counts separately."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calls_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Maximum runs of one tool that one caller may start per minute; a retry that gets an existing run does not count.
    Each process counts separately."""
    max_concurrent: Annotated[int, Field(ge=1)] | None = None
    """Maximum unfinished runs of one tool per caller, among those that this process started."""
    max_argument_bytes: Annotated[int, Field(ge=1_000, le=MAX_BYTES)] = 100_000
    """Maximum size of a call's arguments, as JSON."""


class AuditSettings(BaseModel):
    """`[audit]`: one line of JSON for each call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path | None = None
    """The audit log: a file (reopened after it was renamed) or `stderr`. Default: no audit log."""
    arguments: Literal["digest", "full", "none"] = "digest"
    """How arguments are logged: `digest` (keyed), `full` (likely secrets masked) or `none`."""


class LogSettings(BaseModel):
    """`[log]`: dagcall's own log, on stderr."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    level: LogLevel = "info"
    """The lowest level that is logged: `debug`, `info` (one line for each call), `warning` or `error`."""
    format: LogFormat = "text"
    """`text`, or `json` for one JSON object on each line."""


class AccountSettings(LogInSettings):
    """One `[[accounts]]` entry: the Airflow account that starts, stops and answers the runs of some callers."""

    table = "accounts"

    callers: Selectors
    """The callers, as in `[[tools]]`. The first matching entry applies; if there are entries, others may not call."""
    is_own: bool = False
    """Use dagcall's own account for these callers."""

    @model_validator(mode="after")
    def _require_one_account(self) -> Self:
        if bool(self.ways) == self.is_own:
            raise ValueError("give one way to log in, as in [airflow], or is_own = true")
        return self

    @property
    def name(self) -> str:
        """The account's name in messages."""
        if self.token_file is not None:
            return self.token_file.name
        named = self.username or self.client_id or self.mwaa_environment or self.auth
        return named or ("dagcall's own" if self.is_own else f"of the {' '.join(self.ways).replace('_', ' ')}")
