"""Airflow accounts that start, stop and answer callers' runs.

So Airflow's own permissions and audit log apply to each caller. Reading uses dagcall's own account. A caller's own
token is never sent to Airflow.
"""

from collections.abc import Sequence

from dagcall.airflow import Account
from dagcall.auth.callers import Caller
from dagcall.auth.rights import is_meant
from dagcall.errors import TriggerRefused


class Accounts:
    """Maps callers to accounts.

    Args:
        entries: selectors of callers, and their account (None: dagcall's own); the first match applies. Empty:
            dagcall's own account acts for all callers.
    """

    def __init__(self, entries: Sequence[tuple[tuple[str, ...], Account | None]] = ()) -> None:
        self._entries = entries

    @property
    def all(self) -> tuple[Account, ...]:
        """All accounts but dagcall's own."""
        return tuple(account for _, account in self._entries if account is not None)

    def of(self, caller: Caller) -> Account | None:
        """Return a caller's account; None for dagcall's own.

        Raises:
            TriggerRefused: there are accounts, but none for this caller.
        """
        if not self._entries:
            return None
        for selectors, account in self._entries:
            if is_meant(caller, selectors):
                return account
        raise TriggerRefused(
            "Nothing was changed: dagcall has no Airflow account for you. The operator of this dagcall can add one "
            "([[accounts]] in its settings)."
        )
