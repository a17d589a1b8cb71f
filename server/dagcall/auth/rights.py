"""Who may do what: the selectors of callers in the settings.

Pure. For a caller who may not use a tool, every answer is as if the tool did not exist.
"""

from typing import Annotated

from pydantic import AfterValidator

from dagcall.auth.callers import LOCAL, Caller

EVERYBODY = "*"
KINDS = ("key", "scope", "group", "id")


def _require_selectors(selectors: tuple[str, ...]) -> tuple[str, ...]:
    if not selectors:
        raise ValueError('is empty; leave it out, or write ["*"] for all callers')
    for selector in selectors:
        kind, colon, name = selector.partition(":")
        if selector not in {EVERYBODY, LOCAL.id} and not (colon and name and kind in KINDS):
            raise ValueError(
                f'{selector!r} is not a selector: write "key:<name>", "scope:<scope>", "group:<group>", '
                '"id:<issuer>#<subject>", "local" or "*"'
            )
    return selectors


Selectors = Annotated[tuple[str, ...], AfterValidator(_require_selectors)]
"""Selectors of callers; a caller must match one of them."""


def is_meant(caller: Caller, selectors: tuple[str, ...]) -> bool:
    """Return whether one of these selectors matches a caller."""
    return any(_means(selector, caller) for selector in selectors)


def _means(selector: str, caller: Caller) -> bool:
    if selector in {EVERYBODY, LOCAL.id}:
        return selector == EVERYBODY or caller.id == LOCAL.id
    kind, _, name = selector.partition(":")
    match kind:
        case "scope":
            return name in caller.scopes
        case "group":
            return name in caller.groups
        case "key":
            return caller.id == selector
        case _:
            return caller.id == name
