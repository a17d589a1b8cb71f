"""All checks, in the order in which they are made: what each is about, what it needs, how it asks, and who judges.

A check that needs another one that failed is skipped.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from dagcall.doctor.dags import (
    judge_allow_list,
    judge_broken,
    judge_files,
    judge_missing,
    judge_paused,
    judge_pins,
    judge_tools,
)
from dagcall.doctor.finding import Finding
from dagcall.doctor.health import judge_component, judge_database, judge_load, judge_stream
from dagcall.doctor.log_in import judge_account, judge_auth_manager, judge_log_in, judge_renewal, judge_token
from dagcall.doctor.network import (
    judge_certificate,
    judge_clocks,
    judge_connection,
    judge_front,
    judge_lookup,
    judge_public_url,
    judge_version,
)
from dagcall.doctor.options import (
    judge_conf,
    judge_execution_url,
    judge_exposure,
    judge_idle_sleep,
    judge_parsing,
)
from dagcall.doctor.probes import Probes
from dagcall.doctor.rights import LISTING, NEEDS, Need, judge_right
from dagcall.settings import AccountSettings, Settings


@dataclass(frozen=True, slots=True)
class Check:
    """One check."""

    name: str
    meaning: str
    """What it tells, as a question."""
    probe: Callable[[Probes], Awaitable[Any]]
    judge: Callable[[Any], Finding]
    needs: tuple[str, ...] = ()
    """The checks that must not have failed."""


NETWORK = (
    Check("DNS", "Does Airflow's host have an address?", Probes.lookup, judge_lookup),
    Check("connection", "Does anything listen there?", Probes.connection, judge_connection, ("DNS",)),
    Check("TLS", "Is its certificate trusted?", Probes.certificate, judge_certificate, ("connection",)),
    Check("Airflow", "Is it Airflow's API?", Probes.front, judge_front, ("TLS",)),
    Check("version", "Does dagcall support this version?", Probes.front, judge_version, ("Airflow",)),
    Check("clock", "Do both machines have the same time?", Probes.clocks, judge_clocks, ("version",)),
)
COMPONENTS = (
    Check("database", "Does Airflow reach its database?", Probes.database, judge_database, ("version",)),
    *(
        Check(
            name.replace("_", " "),
            f"Does Airflow's {name.replace('_', ' ')} run?",
            partial(Probes.component, name=name),
            judge_component,
            ("database",),
        )
        for name in ("scheduler", "triggerer", "dag_processor")
    ),
)
LOG_IN = (
    Check(
        "auth manager",
        "How does Airflow know its users?",
        Probes.auth_manager,
        judge_auth_manager,
        ("version",),
    ),
    Check("log-in", "Does Airflow let dagcall in?", Probes.log_in, judge_log_in, ("auth manager", "database")),
    Check("token", "How long does the log-in last?", Probes.token, judge_token, ("log-in",)),
    Check("renewal", "Can dagcall log in again?", Probes.renewal, judge_renewal, ("token",)),
)
HAS_LOGGED_IN = ("renewal",)
HAS_DAG = ("allow-list",)
ALLOW_LIST = (
    Check("allow-list", "Which dags are selected?", Probes.allow_list, judge_allow_list, HAS_LOGGED_IN),
    Check("missing dags", "Does each entry select something?", Probes.allow_list, judge_missing, HAS_DAG),
    Check("paused dags", "Which selected dags are paused?", Probes.allow_list, judge_paused, HAS_DAG),
    Check("broken dags", "Which selected dags cannot be imported?", Probes.allow_list, judge_broken, HAS_DAG),
    Check("import errors", "Can Airflow import all files?", Probes.files, judge_files, HAS_LOGGED_IN),
    Check("tools", "Does each dag make a tool?", Probes.tools, judge_tools, HAS_DAG),
    Check("pins", "Are the tools as reviewed?", Probes.tools, judge_pins, HAS_DAG),
)
BEHAVIOUR = (
    Check(
        "streaming",
        "Do the states of a run arrive at once?",
        Probes.stream,
        judge_stream,
        ("may read runs",),
    ),
    Check("requests at once", "How many does Airflow answer promptly?", Probes.load, judge_load, ("may read dag",)),
)
OPTIONS = (
    Check("configuration", "Can Airflow's configuration be seen?", Probes.options, judge_exposure, HAS_LOGGED_IN),
    *(
        Check(name, meaning, Probes.options, judge, ("configuration",))
        for name, meaning, judge in (
            ("arguments", "Do tasks get a call's arguments?", judge_conf),
            ("idle sleep", "How soon does a run start?", judge_idle_sleep),
            ("parse interval", "How soon is a changed dag noticed?", judge_parsing),
            ("execution API", "Do tasks find the api-server?", judge_execution_url),
        )
    ),
)


CALLERS = (Check("public address", "Do callers reach dagcall?", Probes.public_url, judge_public_url),)


def checks_for(settings: Settings) -> tuple[Check, ...]:
    """Return the checks for these settings: those of the table, and one for each account of callers."""
    return (
        *NETWORK,
        *COMPONENTS,
        *LOG_IN,
        _right(LISTING, Probes.may_list, HAS_LOGGED_IN),
        *ALLOW_LIST,
        *(_right(need, Probes.right, HAS_DAG) for need in NEEDS),
        *(_account(entry) for entry in settings.accounts if not entry.is_own),
        *BEHAVIOUR,
        *OPTIONS,
        *CALLERS,
    )


def _right(need: Need, probe: Callable[..., Awaitable[Any]], needs: tuple[str, ...]) -> Check:
    meaning = f"May dagcall's account {need.name}?"
    return Check(f"may {need.name}", meaning, partial(probe, need=need), judge_right, needs)


def _account(entry: AccountSettings) -> Check:
    meaning = "May this account of callers start runs?"
    return Check(f"account {entry.name}", meaning, partial(Probes.account, entry=entry), judge_account, HAS_DAG)
