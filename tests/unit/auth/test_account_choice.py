"""Which account acts for which caller, and what a caller reads if its account lacks a right."""

import logging

import pytest

from dagcall.airflow.account import Account
from dagcall.airflow.credentials import Credentials
from dagcall.auth.accounts import Accounts
from dagcall.auth.callers import LOCAL, Caller
from dagcall.errors import AirflowLogInRefused, AirflowRefused, TriggerRefused

CI = Caller("key:ci", "ci", frozenset({"dags.run"}), frozenset())
ANN = Caller("https://issuer.test#4711", "ann", frozenset(), frozenset({"finance"}))


def account(name: str) -> Account:
    return Account(name, Credentials(None, now=lambda: 0.0))


CLERK, ROBOT = account("clerk"), account("robot")


def test_first_entry_that_matches_a_caller_applies() -> None:
    accounts = Accounts([(("group:finance",), CLERK), (("local",), None), (("key:ci", "group:finance"), ROBOT)])

    assert accounts.of(ANN) is CLERK
    assert accounts.of(CI) is ROBOT
    assert accounts.of(LOCAL) is None


def test_dagcalls_own_account_acts_for_every_caller_without_entries() -> None:
    assert Accounts().of(CI) is None


def test_caller_that_matches_no_entry_has_no_account() -> None:
    with pytest.raises(TriggerRefused) as refused:
        Accounts([(("local",), CLERK)]).of(CI)

    assert str(refused.value) == (
        "Nothing was changed: dagcall has no Airflow account for you. The operator of this dagcall can add "
        "one ([[accounts]] in its settings)."
    )


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            AirflowRefused("403 for POST"),
            "it run dag add. Airflow's administrator can change that.",
        ),
        (
            AirflowLogInRefused("401 for POST"),
            "that account in: its password or token is no longer valid. The operator of this dagcall can fix that.",
        ),
    ],
)
def test_a_refusal_names_the_account_and_the_log_says_why(
    error: AirflowRefused, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert CLERK.refusal(error, "run dag add") == f"with Airflow's account 'clerk', and Airflow does not let {told}"
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, f"account clerk could not run dag add: {error}")
    ]
