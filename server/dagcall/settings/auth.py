"""`[auth]`: how callers prove who they are."""

import ssl
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from dagcall.auth import EVERYBODY, Selectors
from dagcall.settings.tls import trusting

ALLOW_ANYONE = "whoever reaches this port may run the published dags"
SCOPES_PATTERN = r"^[\x20\x21\x23-\x5b\x5d-\x7e]*$"
"""As in OAuth: printable ASCII except the quotation mark and the backslash."""


class AuthSettings(BaseModel):
    """`[auth]`: how callers over HTTP prove who they are. Empty: no authentication."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys_file: Path | None = None
    """A file of named keys (only their hashes); `dagcall key NAME` makes a key. Reread when it changes."""
    issuer: str | None = None
    """The authorization server whose tokens are accepted, spelt exactly as in its tokens and its metadata."""
    audience: str | None = None
    """Expected token audience (`aud`). Default: server.public_url, for which MCP clients request tokens."""
    scopes: Annotated[str, Field(pattern=SCOPES_PATTERN)] = ""
    """Scopes that every token and key must have, separated by spaces."""
    callers: Selectors = (EVERYBODY,)
    """Who sees and calls a tool whose entry has no `callers`. Default: every authenticated caller."""
    groups_claim: str = "groups"
    """The token claim that lists the caller's groups; dots reach a nested claim: realm_access.roles."""
    jwks_url: str | None = None
    """The address of the issuer's public keys. Default: from the issuer's metadata."""
    introspection_url: str | None = None
    """The issuer's introspection endpoint (RFC 7662), for opaque tokens or immediate revocation."""
    client_id: str | None = None
    """dagcall's client id at the issuer, for introspection."""
    client_secret: Annotated[SecretStr | None, Field(min_length=1)] = None
    """The client's secret; prefer a file or the variable."""
    client_secret_file: Path | None = None
    """A file that contains only the client's secret."""
    ca_file: Path | None = None
    """CA certificates to trust for the issuer, instead of the system's."""
    allow_anyone: Literal["whoever reaches this port may run the published dags"] | None = None
    """Lets dagcall listen beyond this machine without authentication. The value must be exactly `whoever reaches this
    port may run the published dags`."""

    @field_validator("issuer", "jwks_url", "introspection_url")
    @classmethod
    def _require_safe_url(cls, value: str | None) -> str | None:
        """Require https: who can change the response can let anyone in."""
        if value is None:
            return None
        parts = urlsplit(value)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        if not is_safe or not parts.hostname or parts.username or parts.password or parts.fragment:
            raise ValueError(f"{value!r} is not an https address (http is allowed only for this machine)")
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
        """Whether callers must authenticate."""
        return self.keys_file is not None or self.issuer is not None

    @property
    def required_scopes(self) -> tuple[str, ...]:
        """The required scopes as a tuple."""
        return tuple(self.scopes.split())

    def secrets(self) -> Iterator[str]:
        """Yield every secret that the settings themselves contain."""
        if self.client_secret is not None:
            yield self.client_secret.get_secret_value()

    def tls(self) -> ssl.SSLContext:
        """Return how to verify the issuer's certificate.

        Raises:
            ConfigError: the file cannot be used.
        """
        return trusting(self.ca_file, "auth.ca_file")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def is_every_address(host: str) -> bool:
    """Return whether a host to listen on means every address, so that it names none."""
    try:
        return host == "" or ip_address(host).is_unspecified
    except ValueError:
        return False
