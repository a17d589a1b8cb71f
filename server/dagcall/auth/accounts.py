"""Accounts of Airflow in whose name callers' runs are started, stopped and answered.

So that Airflow's own permissions and its audit log hold for each caller. What dagcall only looks at, it looks at with
its own account. A caller's own token never goes to Airflow.
"""

from collections.abc import Sequence

from dagcall.airflow import Account
from dagcall.auth.callers import Caller
from dagcall.auth.rights import is_meant
from dagcall.errors import TriggerRefused


class Accounts:
    """Knows which account acts for whom.

    Args:
        entries: selectors of callers, and their account (None: dagcall's own), the first that fits counts; empty:
            dagcall's own account acts for everybody.
    """

    def __init__(self, entries: Sequence[tuple[tuple[str, ...], Account | None]] = ()) -> None:
        self._entries = entries

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
            "Nothing was changed: dagcall has no account of Airflow that acts for you. Whoever runs this dagcall can "
            "add one ([[accounts]] in its settings)."
        )
