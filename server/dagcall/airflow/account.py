"""An Airflow account, and the message if Airflow refuses it something."""

import logging
from dataclasses import dataclass

from dagcall.airflow.credentials import Credentials
from dagcall.errors import AirflowLogInRefused, AirflowRefused

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """An Airflow account."""

    name: str
    """The account's name in messages."""
    credentials: Credentials

    def refusal(self, error: AirflowRefused, deed: str) -> str:
        """Return why this account could not do something, as the rest of a sentence.

        Args:
            error: Airflow's refusal.
            deed: what the account tried: `run dag add`.
        """
        logger.warning("account %s could not %s: %s", self.name, deed, error)
        acting = f"with Airflow's account {self.name!r}, and Airflow does not let"
        if isinstance(error, AirflowLogInRefused):
            gone = "that account in: its password or token is no longer valid"
            return f"{acting} {gone}. The operator of this dagcall can fix that."
        return f"{acting} it {deed}. Airflow's administrator can change that."
