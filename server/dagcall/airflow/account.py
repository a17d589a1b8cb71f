"""An account of Airflow, and what is said where Airflow refuses it something."""

import logging
from dataclasses import dataclass

from dagcall.airflow.credentials import Credentials
from dagcall.errors import AirflowLogInRefused, AirflowRefused

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
