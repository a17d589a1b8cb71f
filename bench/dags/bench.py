"""The dags that are called: one that ends at once, and one whose runs wait in line."""  # noqa: INP001 - a dags folder

import time

from airflow.sdk import Param, dag, task


@dag(schedule=None, tags=["bench"], params={"n": Param(1, type="integer")})
def bench_double() -> None:
    """Double a number."""

    @task
    def double(params: dict) -> dict:
        return {"n": params["n"], "double": 2 * params["n"]}

    double()


@dag(schedule=None, tags=["bench"], max_active_runs=1, params={"n": Param(1, type="integer")})
def bench_wait() -> None:
    """Wait: one run sleeps, the others are queued behind it."""

    @task
    def sleep() -> None:
        time.sleep(3600)

    sleep()


bench_double()
bench_wait()
