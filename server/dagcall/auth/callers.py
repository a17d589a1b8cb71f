"""Who calls: the authenticated caller, and claims of an authorization server.

Pure. `Caller.id` identifies callers and goes into run ids; everything else about a caller may change.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dagcall.plain_json import Json
from dagcall.text import visible

SCOPE_KEY = "dagcall.caller"
"""The key in an HTTP request's ASGI scope of the authenticated caller."""
MAX_LABEL = 100
_BRACKETS = str.maketrans("()", "[]")


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller."""

    id: str
    """The same across restarts and replicas: `local`, `key:<name>`, or `<issuer>#<subject>`."""
    label: str
    """The name for administrators: one line of visible characters."""
    scopes: frozenset[str]
    """The scopes of the token, or of the key's entry."""
    groups: frozenset[str]
    """The caller's groups, from the configured claim or the key's entry."""


LOCAL = Caller("local", "a local client", frozenset(), frozenset())
"""Every caller on stdio, and every caller without authentication."""


def caller_of_claims(issuer: str, claims: Mapping[str, Json], *, groups_claim: str) -> Caller | None:
    """Return the caller in verified claims; None if they name none.

    Args:
        issuer: who issued them.
        claims: the claims of a JWT or of an introspection answer.
        groups_claim: the claim that lists groups; dots reach a nested claim, such as `realm_access.roles`.
    """
    subject = _first_text(claims, "sub", "client_id", "azp")
    if subject is None:
        return None
    name = _first_text(claims, "preferred_username", "email") or subject
    return Caller(
        id=f"{issuer}#{subject}",
        label=label(name) or label(subject) or "a caller",
        scopes=scopes_of_claims(claims),
        groups=_words(_claim(claims, groups_claim), separator=None),
    )


def scopes_of_claims(claims: Mapping[str, Json]) -> frozenset[str]:
    """Return the scopes: from `scope`, or from `scp`, which some authorization servers use."""
    return _words(claims.get("scope", claims.get("scp")), separator=" ")


def label(text: str, length: int = MAX_LABEL) -> str:
    """Return a name on one line, without invisible characters and parentheses.

    People choose their names. In a run's note, parentheses contain the authenticated caller, and marks that dagcall
    itself reads: `by ann (key:ann) with …`, `(cancelled)`.
    """
    return " ".join(visible(text).split()).translate(_BRACKETS)[:length]


def _first_text(claims: Mapping[str, Json], *names: str) -> str | None:
    found = (claims.get(name) for name in names)
    return next((value for value in found if isinstance(value, str) and value), None)


def _claim(claims: Mapping[str, Json], name: str) -> Json:
    """Return a claim by its name, which may contain dots (`https://example.com/groups`), otherwise by its path."""
    if name in claims:
        return claims[name]
    value: Json = dict(claims)
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _words(value: Json, *, separator: str | None) -> frozenset[str]:
    """Return the texts of a list, or the parts of one text, split at a separator."""
    if isinstance(value, str):
        value = list(value.split(separator)) if separator else [value]
    if not isinstance(value, list):
        return frozenset()
    return frozenset(item for item in value if isinstance(item, str) and item)
