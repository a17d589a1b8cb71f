"""Who calls: what was proven of a caller, and what an authorization server's claims say.

Pure. Callers are told apart by `Caller.id`, which goes into the run ids; everything else about a caller may change.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dagcall.plain_json import Json
from dagcall.text import visible

SCOPE_KEY = "dagcall.caller"
"""Where an HTTP request's ASGI scope holds its caller, once the caller has been let in."""
MAX_LABEL = 100
_BRACKETS = str.maketrans("()", "[]")


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who calls."""

    id: str
    """The same over restarts and replicas: `local`, `key:<name>`, or `<issuer>#<subject>`."""
    label: str
    """What an administrator reads: one line of visible characters."""
    scopes: frozenset[str]
    """What the token allows; of a key, what its entry says."""
    groups: frozenset[str]
    """Where the caller belongs, by the configured claim; of a key, what its entry says."""


LOCAL = Caller("local", "a local client", frozenset(), frozenset())
"""Everybody on stdio, and everybody where nobody is asked who they are."""


def caller_of_claims(issuer: str, claims: Mapping[str, Json], *, groups_claim: str) -> Caller | None:
    """Return whom verified claims are about; None if they name nobody.

    Args:
        issuer: who vouches for them.
        claims: of a JWT, or of an answer to an introspection.
        groups_claim: the claim that lists groups; with dots for one inside another, such as `realm_access.roles`.
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
    """Return the scopes: from `scope`, or from `scp`, where some authorization servers put them."""
    return _words(claims.get("scope", claims.get("scp")), separator=" ")


def label(text: str, length: int = MAX_LABEL) -> str:
    """Return a name on one line, without what cannot be seen, and without parentheses.

    People choose the names that they go by. In a run's note parentheses hold what is proven of a caller, and marks that
    dagcall itself reads: `by ann (key:ann) with …`, `(cancelled)`.
    """
    return " ".join(visible(text).split()).translate(_BRACKETS)[:length]


def _first_text(claims: Mapping[str, Json], *names: str) -> str | None:
    found = (claims.get(name) for name in names)
    return next((value for value in found if isinstance(value, str) and value), None)


def _claim(claims: Mapping[str, Json], name: str) -> Json:
    """Return a claim by its name, which may hold dots (`https://example.com/groups`), or else by its path."""
    if name in claims:
        return claims[name]
    value: Json = dict(claims)
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _words(value: Json, *, separator: str | None) -> frozenset[str]:
    """Return the texts of a list, or of one text, split where it has a separator."""
    if isinstance(value, str):
        value = list(value.split(separator)) if separator else [value]
    if not isinstance(value, list):
        return frozenset()
    return frozenset(item for item in value if isinstance(item, str) and item)
