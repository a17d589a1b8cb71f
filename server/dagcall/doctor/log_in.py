"""How dagcall logs in to Airflow, how long that lasts, and whether it can do so again.

Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dagcall.doctor.finding import Finding, duration, failure, ok, warning

SOON_SECONDS = 86_400.0
"""A token that nothing renews should last longer than a day."""
RENEWING_WAYS = frozenset({"username", "client_id", "token_command", "auth"})
"""The ways to log in that get a new token each time."""
AUTH_MANAGERS: Mapping[str, tuple[str, frozenset[str]]] = {
    "Simple auth manager": ("the simple auth manager", frozenset({"username"})),
    "FAB auth manager": ("FAB", frozenset({"username"})),
    "Keycloak auth manager": ("Keycloak", frozenset({"username", "client_id"})),
    "AWS auth manager": ("the AWS auth manager", frozenset()),
}
"""How the title of an auth manager begins -> its name, and the log-ins that it has besides tokens."""
TOKENS = frozenset({"token", "token_file", "token_command", "auth"})


@dataclass(frozen=True, slots=True)
class AuthManager:
    """Airflow's auth manager, and how dagcall logs in."""

    title: str | None
    """What it calls itself."""
    way: str | None
    """The key of the settings that names the way to log in; None for none."""


def judge_auth_manager(facts: AuthManager) -> Finding:
    """Judge whether the auth manager has the configured way to log in."""
    if facts.title is None:
        return ok("Airflow does not say which one it uses")
    known = next((known for begin, known in AUTH_MANAGERS.items() if facts.title.startswith(begin)), None)
    if known is None:
        return ok(f"one that dagcall does not know: {facts.title}")
    name, ways = known
    if facts.way is None or facts.way in ways | TOKENS:
        return ok(name)
    others = " or ".join([*sorted(ways), "token_file"])
    return failure(f"{name}, which has no log-in with {facts.way}", f"Log in with {others} in [airflow]")


@dataclass(frozen=True, slots=True)
class LogIn:
    """The first request with a token."""

    who: str
    """E.g. `user 'agent'`, `the token of airflow.token_file`."""
    is_anonymous: bool = False
    refusal: str = ""
    """Why Airflow did not let the account in."""
    ended_ago: float | None = None
    """How long ago the token ended, if it has."""


def judge_log_in(facts: LogIn) -> Finding:
    """Judge whether Airflow lets the account in."""
    if facts.refusal and facts.is_anonymous:
        return failure(
            "Airflow requires a log-in, and the settings name none",
            "Set username and password_file in [airflow], or another way to log in",
        )
    if facts.ended_ago is not None:
        return failure(
            f"{facts.who} ended {duration(facts.ended_ago)} ago ({facts.refusal})",
            "Get a new token; with username and password_file, dagcall gets them by itself",
        )
    if facts.refusal:
        return failure(
            facts.refusal,
            "Check the account in [airflow]; Airflow refuses a deactivated account, and a revoked token, likewise",
        )
    if facts.is_anonymous:
        return warning(
            "not needed: Airflow lets everybody in as an administrator",
            "Switch authentication on in Airflow ([core] simple_auth_manager_all_admins = False)",
        )
    return ok(f"as {facts.who}")


@dataclass(frozen=True, slots=True)
class Token:
    """How long a token lasts, in seconds from now by Airflow's clock; negative for one that has ended."""

    way: str | None
    seconds_left: float | None = None
    """None if the token does not say it."""
    seconds_left_inside: float | None = None
    """Of the token that it contains, as with Keycloak; None if there is none."""


def judge_token(facts: Token) -> Finding:
    """Judge how long the log-in lasts."""
    if facts.way is None:
        return ok("none is needed")
    inside = facts.seconds_left_inside
    if inside is not None and inside <= 0:
        return failure(
            f"the token inside Airflow's token ended {duration(-inside)} ago: Airflow answers with refusals and empty "
            "lists",
            "Log in with client_id or username instead of a token, so that dagcall renews it in time",
        )
    left = facts.seconds_left
    if left is not None and left <= 0:
        return warning(
            f"it seems to have ended {duration(-left)} ago, but Airflow accepts it", "Compare the clocks of both"
        )
    known = [seconds for seconds in (left, inside) if seconds is not None]
    if not known:
        return ok("does not say how long it lasts; dagcall logs in again when Airflow refuses it")
    lasts = f"lasts {duration(left)}" if left is not None else "does not say how long it lasts"
    found = lasts + ("" if inside is None else f", the token inside it {duration(inside)}")
    if facts.way in RENEWING_WAYS:
        return ok(f"{found}; dagcall renews it before")
    if min(known) < SOON_SECONDS:
        return warning(found, "Let something write a new token in time, or log in with username and password_file")
    return ok(found)


@dataclass(frozen=True, slots=True)
class Renewal:
    """A second log-in."""

    way: str | None
    is_new: bool = False
    """Whether it gave another token."""
    problem: str = ""


def judge_renewal(facts: Renewal) -> Finding:
    """Judge whether dagcall can log in again."""
    if facts.way is None:
        return ok("there is nothing to renew")
    if facts.problem:
        return failure(facts.problem, "Calls fail once the current token ends")
    if facts.way == "token":
        return warning(
            "a token in the settings is never renewed",
            "Use token_file, so that a new one needs no restart, or username and password_file",
        )
    if facts.way == "token_file":
        return ok("the file is read again when Airflow refuses the token; something else has to rewrite it in time")
    return ok("a second log-in works" + ("" if facts.is_new else ", and gives the same token"))


@dataclass(frozen=True, slots=True)
class AccountOfCallers:
    """The log-in of an account for callers (`[[accounts]]`), and whether it may start runs."""

    refusal: str = ""
    dag_id: str = ""
    may_start: bool | None = None
    """None if it cannot be told."""


def judge_account(facts: AccountOfCallers) -> Finding:
    """Judge whether an account for callers can be used."""
    if facts.refusal:
        return failure(facts.refusal, "Check this entry of [[accounts]]: its callers start nothing")
    if facts.may_start is None:
        return ok("logs in; whether it may start runs cannot be told")
    if facts.may_start:
        return ok(f"logs in, and may start runs of {facts.dag_id}")
    return failure(
        f"logs in, but may not start runs of {facts.dag_id}",
        "Give the account this right in Airflow, or remove its entry in [[accounts]]",
    )
