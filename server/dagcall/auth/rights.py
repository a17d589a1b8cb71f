"""Who may do what: the selectors of callers in the settings, and whom they mean.

Pure. A caller who may not use a tool is answered as if there were no such tool, wherever it could show.
"""

from typing import Annotated

from pydantic import AfterValidator

from dagcall.auth.callers import LOCAL, Caller

EVERYBODY = "*"
KINDS = ("key", "scope", "group", "id")


def _require_selectors(selectors: tuple[str, ...]) -> tuple[str, ...]:
    if not selectors:
        raise ValueError('names nobody; leave it out, or write ["*"] for everybody')
    for selector in selectors:
        kind, colon, name = selector.partition(":")
        if selector not in {EVERYBODY, LOCAL.id} and not (colon and name and kind in KINDS):
            raise ValueError(
                f'{selector!r} is no caller: write "key:<name>", "scope:<scope>", "group:<group>", '
                '"id:<issuer>#<subject>", "local" or "*"'
            )
    return selectors


Selectors = Annotated[tuple[str, ...], AfterValidator(_require_selectors)]
"""Who is meant; a caller has to fit one of them."""


def is_meant(caller: Caller, selectors: tuple[str, ...]) -> bool:
    """Say whether one of these selectors means a caller."""
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
