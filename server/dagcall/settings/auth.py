"""`[auth]`: the settings that say how callers prove who they are.

A part of the settings like the others; in a module of its own, for it is long.
"""

import ssl
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from dagcall.auth import EVERYBODY, Selectors
from dagcall.errors import ConfigError

ALLOW_ANYONE = "whoever reaches this port may run the published dags"
SCOPES_PATTERN = r"^[\x20\x21\x23-\x5b\x5d-\x7e]*$"
"""As OAuth has them: ASCII, but for the quotation mark and the backslash."""


class AuthSettings(BaseModel):
    """`[auth]`: how callers over HTTP prove who they are. Empty: nobody is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys_file: Path | None = None
    """A file of named keys, of which it holds hashes only; `dagcall key NAME` makes one. Read anew when it changes."""
    issuer: str | None = None
    """The authorization server whose tokens are taken, exactly as its tokens and its metadata name it."""
    audience: str | None = None
    """Whom tokens have to be for (`aud`). Else server.public_url, which is what MCP clients ask tokens for."""
    scopes: Annotated[str, Field(pattern=SCOPES_PATTERN)] = ""
    """What every token and every key has to be allowed, or its holder may do nothing here; several with blanks between
    them, as OAuth writes them."""
    callers: Selectors = (EVERYBODY,)
    """Who sees and calls a tool whose entry does not say, as `callers` there: everybody who is let in."""
    groups_claim: str = "groups"
    """Where a token lists the groups of its holder; with dots for a claim inside another: realm_access.roles."""
    jwks_url: str | None = None
    """Where the issuer's public keys are. Else its metadata says so."""
    introspection_url: str | None = None
    """Where to ask the issuer about a token (RFC 7662), for tokens that are no JWT or that can be withdrawn at once."""
    client_id: str | None = None
    """What the issuer knows dagcall by, where it is asked about tokens."""
    client_secret: Annotated[SecretStr | None, Field(min_length=1)] = None
    """The client's secret; better in a file, or in the variable."""
    client_secret_file: Path | None = None
    """A file that holds the client's secret and nothing else."""
    ca_file: Path | None = None
    """Certificates to trust when the issuer is asked, in place of the system's."""
    allow_anyone: Literal["whoever reaches this port may run the published dags"] | None = None
    """Lets dagcall listen beyond this machine without asking callers who they are; only these words do."""

    @field_validator("issuer", "jwks_url", "introspection_url")
    @classmethod
    def _require_safe_url(cls, value: str | None) -> str | None:
        """Whoever can change what is read there can let anybody in."""
        if value is None:
            return None
        parts = urlsplit(value)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        if not is_safe or not parts.hostname or parts.username or parts.password or parts.fragment:
            raise ValueError(f"{value!r} is not an https address (http is for this machine only)")
        return value

    @model_validator(mode="after")
    def _require_no_contradiction(self) -> Self:
        if self.issuer is None:
            for key in ("audience", "jwks_url", "introspection_url", "client_id", "ca_file"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key} needs issuer")
        if self.jwks_url is not None and self.introspection_url is not None:
            raise ValueError("jwks_url and introspection_url contradict each other; give one of them")
        if self.client_secret is not None and self.client_secret_file is not None:
            raise ValueError("client_secret and client_secret_file contradict each other; give one of them")
        has_secret = self.client_secret is not None or self.client_secret_file is not None
        if not (self.introspection_url is not None) == (self.client_id is not None) == has_secret:
            raise ValueError("introspection_url, client_id and client_secret_file need each other")
        if self.is_on and self.allow_anyone is not None:
            raise ValueError("allow_anyone contradicts keys_file and issuer; leave it out")
        if self.scopes and not self.is_on:
            raise ValueError("scopes need keys_file or issuer")
        return self

    @property
    def is_on(self) -> bool:
        """Whether callers are asked who they are."""
        return self.keys_file is not None or self.issuer is not None

    @property
    def required_scopes(self) -> tuple[str, ...]:
        """The scopes, one by one."""
        return tuple(self.scopes.split())

    def secrets(self) -> Iterator[str]:
        """Yield every secret that the settings hold themselves."""
        if self.client_secret is not None:
            yield self.client_secret.get_secret_value()

    def tls(self) -> ssl.SSLContext | bool:
        """Return how to verify the issuer's certificate.

        Raises:
            ConfigError: the file cannot be used.
        """
        if self.ca_file is None:
            return True
        try:
            return ssl.create_default_context(cafile=str(self.ca_file))
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"auth.ca_file: {self.ca_file} cannot be used: {error}") from error


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches an address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def is_every_address(host: str) -> bool:
    """Say whether a host to listen on stands for all of them, and so names none."""
    try:
        return host == "" or ip_address(host).is_unspecified
    except ValueError:
        return False
