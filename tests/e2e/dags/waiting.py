# ruff: noqa: INP001 - a file in a dags folder, not in a package
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""Dags whose runs wait forever or do nothing."""

from datetime import UTC, datetime

from airflow.sdk import Param, dag, get_current_context, task

FAR_FUTURE = datetime(2099, 1, 1, tzinfo=UTC)


@task(depends_on_past=True)
def load() -> str:
    if get_current_context()["params"]["fail"]:
        raise ValueError("as asked")
    return "loaded"


@task
def report(_: str) -> str:
    return "reported"


@dag(
    schedule=None,
    tags=["mcp"],
    params={"fail": Param(default=False, type="boolean")},
    description="Load, unless the last load failed.",
)
def one_after_the_other() -> None:
    report(load())


@task(pool="no_such_pool")
def compute(number: int) -> int:
    return number


@dag(schedule=None, tags=["mcp"], description="Compute in a pool that is not there.")
def without_a_pool() -> None:
    compute.expand(number=[1, 2])


@task
def work() -> str:
    return "the work was done"


@dag(schedule=None, start_date=FAR_FUTURE, description="Work, from 2099 on.")
def not_yet() -> None:
    work()


@task(start_date=FAR_FUTURE)
def work_later(done: str) -> str:
    return done


@dag(schedule=None, description="Work in part, and wholly from 2099 on.")
def not_yet_whole() -> None:
    work_later(work())


one_after_the_other()
without_a_pool()
not_yet()
not_yet_whole()
