"""`[server]`: how callers reach dagcall over HTTP, how long calls wait, and how large answers are."""

import re
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from dagcall.settings.auth import is_every_address, is_loopback

HOST_PATTERN = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")
LARGEST_ANSWER_BYTES = 170_000
"""Clients reject messages above 1 MiB. A message contains the answer twice, and the SDK escapes non-ASCII characters:
an é grows from two bytes to six."""


class ServerSettings(BaseModel):
    """`[server]`: how callers reach dagcall over HTTP."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    """The address to listen on. An address beyond this machine requires authentication; see auth."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 8000
    public_url: str | None = None
    """The address that callers use, if a proxy is in front: https://dagcall.example.com/mcp. It is the default token
    audience, and its host is accepted in Host headers."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Further names of this machine or of a proxy that are accepted in Host headers: dagcall.internal. Other names are
    refused, against DNS rebinding."""
    wait_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """How long a call waits before it answers `state: running`. Default: 50 on stdio, 240 on HTTP."""
    max_wait_seconds: Annotated[float, Field(gt=0, le=86_400)] = 3600.0
    """The longest wait that a caller may request."""
    max_result_bytes: Annotated[int, Field(ge=10_000, le=LARGEST_ANSWER_BYTES)] = 100_000
    """Maximum size of an answer, as JSON text. Larger results are answered with a preview and read in parts."""
    log_lines: Annotated[int, Field(ge=0, le=200)] = 15
    """How many of the last lines of a failed task's log an answer contains, with likely secrets masked; 0 for none. The
    exception and its message are always included."""
    secret: Annotated[SecretStr | None, Field(min_length=1)] = None
    """The key for run ids; the same for all replicas. Default: derived from Airflow's password or token."""
    secret_file: Path | None = None
    """A file that contains only the secret."""
    drain_seconds: Annotated[float, Field(ge=0, le=3600)] = 20.0
    """How long calls may still wait after SIGTERM before each is answered with its run's handle."""

    @model_validator(mode="after")
    def _require_one_secret(self) -> Self:
        if self.secret is not None and self.secret_file is not None:
            raise ValueError("secret and secret_file contradict each other; give one of them")
        return self

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("allowed_hosts")
    @classmethod
    def _require_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not HOST_PATTERN.fullmatch(host):
                raise ValueError(f"{host!r} is not a host name, such as dagcall.internal or dagcall.internal:8000")
        return value

    @field_validator("public_url")
    @classmethod
    def _require_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        is_plain = not (parts.query or parts.fragment or parts.username or parts.password)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not is_plain:
            raise ValueError(f"{value!r} is not an address such as https://dagcall.example.com/mcp")
        return value.rstrip("/")

    @property
    def url(self) -> str:
        """The address that callers use."""
        return self.public_url or address_of(self.host, self.port)

    @property
    def is_read_on_the_way(self) -> bool:
        """Whether keys, tokens and results cross a network in plain text, as far as the settings show."""
        parts = urlsplit(self.url)
        return parts.scheme == "http" and not is_loopback(parts.hostname or "")

    @property
    def host_names(self) -> tuple[str, ...]:
        """The names accepted in Host headers, with any port, in lower case as clients send them."""
        own = [] if is_every_address(self.host) else [f"[{self.host}]" if ":" in self.host else self.host]
        public = urlsplit(self.public_url or "").hostname
        if public is not None:
            own.append(f"[{public}]" if ":" in public else public)
        names = {"127.0.0.1", "localhost", "[::1]", *own, *self.allowed_hosts}
        return tuple(sorted(name.lower() for name in names))


def address_of(host: str, port: int) -> str:
    """Return the address at which callers reach us without a proxy."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/mcp"
