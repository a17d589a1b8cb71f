"""The ways to log in to Airflow: the keys that `[airflow]` and `[[accounts]]` share."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

Secret = Annotated[SecretStr | None, Field(min_length=1)]
Name = Annotated[str | None, Field(min_length=1)]


class LogInSettings(BaseModel):
    """How to log in to Airflow: at most one way."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    table: ClassVar[str]
    """The table of the settings, for messages."""

    username: Name = None
    """The user name for /auth/token; needs password or password_file."""
    password: Secret = None
    """The password; better given in a variable or a file."""
    password_file: Path | None = None
    """A file that contains only the password."""
    client_id: Name = None
    """The OAuth client for /auth/token of an Airflow with Keycloak; needs client_secret or client_secret_file."""
    client_secret: Secret = None
    """The client's secret; better given in a variable or a file."""
    client_secret_file: Path | None = None
    """A file that contains only the client's secret."""
    token: Secret = None
    """A bearer token, instead of a user name."""
    token_file: Path | None = None
    """A file that contains only the token; reread when Airflow refuses the old one."""
    token_command: str | None = None
    """A command that prints a token, for example gcloud auth print-access-token; run again when the token expires."""
    auth: Literal["mwaa", "composer"] | None = None
    """A managed Airflow, with the cloud's own credentials: `mwaa` (needs dagcall[aws]) or `composer` (needs
    dagcall[google])."""
    mwaa_environment: Name = None
    """The name of the MWAA environment, for auth = "mwaa"."""
    aws_region: Name = None
    """The AWS region of the MWAA environment. Default: the one that AWS's own settings name."""

    @field_validator("token_command")
    @classmethod
    def _require_command(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            words = shlex.split(value)
        except ValueError as error:  # the command itself is not repeated: it may hold a secret
            raise ValueError(f"is not a valid command line: {error}") from error
        if not words:
            raise ValueError("contains no command")
        return value

    @model_validator(mode="after")
    def _require_one_way_to_log_in(self) -> Self:
        if len(self.ways) > 1:
            raise ValueError(f"{' and '.join(self.ways)} contradict each other; give one way to log in")
        self._require_secret("username", "password")
        self._require_secret("client_id", "client_secret")
        if (self.auth == "mwaa") != (self.mwaa_environment is not None):
            raise ValueError('auth = "mwaa" and mwaa_environment need each other')
        if self.aws_region is not None and self.auth != "mwaa":
            raise ValueError('aws_region needs auth = "mwaa"')
        return self

    def _require_secret(self, who: str, secret: str) -> None:
        """Require that a name has exactly one secret, and that a secret has a name."""
        given = [key for key in (secret, f"{secret}_file") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} contradict each other; give one of them")
        if getattr(self, who) is not None and not given:
            raise ValueError(f"{who} needs {secret}_file or {secret}")
        if given and getattr(self, who) is None:
            raise ValueError(f"{given[0]} needs {who}")

    @property
    def ways(self) -> list[str]:
        """The keys that name a way to log in; one or none."""
        ways = ("username", "client_id", "token", "token_file", "token_command", "auth")
        return [key for key in ways if getattr(self, key) is not None]

    @property
    def secret_files(self) -> dict[str, Path]:
        """Key -> the file of a secret."""
        keys = ("password_file", "client_secret_file", "token_file")
        return {key: path for key in keys if (path := getattr(self, key)) is not None}

    def secrets(self) -> Iterator[str]:
        """Yield every secret that the settings themselves contain."""
        secrets = (self.password, self.client_secret, self.token)
        yield from (secret.get_secret_value() for secret in secrets if secret is not None)
