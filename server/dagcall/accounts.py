"""Accounts of Airflow in whose name callers' runs are started, stopped and answered.

So that Airflow's own permissions and its audit log hold for each caller. What dagcall only looks at, it looks at with
its own account. A caller's own token never goes to Airflow.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from dagcall.callers import Caller
from dagcall.credentials import Credentials
from dagcall.errors import AirflowLogInRefused, AirflowRefused, TriggerRefused
from dagcall.rights import is_meant

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """An account of Airflow."""

    name: str
    """As messages call it."""
    credentials: Credentials

    def refusal(self, error: AirflowRefused, deed: str) -> str:
        """Return why something was not done in this account's name, as the rest of a sentence.

        Args:
            error: how Airflow refused.
            deed: what was to be done: `run dag add`.
        """
        logger.warning("account %s could not %s: %s", self.name, deed, error)
        acting = f"with Airflow's account {self.name!r}, and Airflow does not let"
        if isinstance(error, AirflowLogInRefused):
            gone = "that account in: its password or token is no longer good"
            return f"{acting} {gone}. Whoever runs this dagcall can mend that."
        return f"{acting} it {deed}. Whoever runs Airflow can change that."


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
