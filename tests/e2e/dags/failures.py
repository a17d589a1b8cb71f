# ruff: noqa: INP001, T201 - a file in a dags folder, not in a package; its tasks print
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""Dags that fail in different ways. The secrets in their logs are invented."""

import logging
import os
import signal
import sys
import time
from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task

try:
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowFailException, AirflowSkipException

DAG = {"tags": ["mcp"], "max_active_runs": 16}


@task
def prepare() -> str:
    return "prepared"


@task
def work(_: object = None) -> str:
    return "worked"


@task
def look_up() -> None:
    print("\x1b[31mlooking\x1b[0m for the region")
    logging.getLogger(__name__).info("asking https://reader:hunter2hunter2@db.internal/regions")
    print("password=correct-horse-battery")
    logging.getLogger(__name__).warning("the answer was Bearer abcdefgh12345678")
    try:
        {}["north"]
    except KeyError as error:
        raise ValueError(f"no region named north (api_key=sk-proj-{'a1B2' * 10})") from error


@dag(description="Fails in the middle, with secrets in its log.", schedule=None, **DAG)
def fails_in_the_middle() -> None:
    prepare() >> look_up() >> work()


@task
def count_down(number: int) -> int:
    print("counting", number)
    return 10 // (number % 2)


@task(trigger_rule="all_done")
def add_up() -> None:
    raise LookupError("some counts are missing")


@dag(description="Fails in half of its mapped tasks.", schedule=None, **DAG)
def fails_mapped() -> None:
    count_down.expand(number=list(range(12))) >> add_up()


@task(execution_timeout=timedelta(seconds=2))
def sleep_long() -> None:
    print("sleeping")
    time.sleep(600)


@dag(description="Fails for its task takes too long.", schedule=None, **DAG)
def fails_slow_task() -> None:
    sleep_long()


@task
def sleep_on() -> None:
    print("sleeping on")
    time.sleep(600)


@dag(description="Fails for the run takes too long.", dagrun_timeout=timedelta(seconds=10), schedule=None, **DAG)
def fails_slow_run() -> None:
    prepare() >> sleep_on() >> work()


@dag(description="Goes on until somebody ends it.", schedule=None, **DAG)
def fails_by_hand() -> None:
    prepare() >> sleep_on() >> work()


@task
def die() -> None:
    print("about to die", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


@dag(description="Is killed, as when memory runs out.", schedule=None, **DAG)
def fails_killed() -> None:
    die()


@task(retries=2, retry_delay=timedelta(0))
def refuse() -> None:
    print(f"try {get_current_context()['ti'].try_number}")
    raise AirflowFailException("the account is closed")


@dag(description="Fails for good on the first try.", schedule=None, **DAG)
def fails_for_good() -> None:
    refuse()


@task(trigger_rule="all_done")
def connect() -> None:
    raise ConnectionRefusedError(111, "Connection refused")


@task
def skip() -> str:
    raise AirflowSkipException("nothing to do")


@dag(description="One task is skipped, the next one fails.", schedule=None, **DAG)
def fails_beside_a_skip() -> None:
    skip() >> connect()


@task.bash
def shell() -> str:
    return "echo to stdout; echo to stderr >&2; exit 3"


@dag(description="A shell command that exits with 3.", schedule=None, **DAG)
def fails_in_a_shell() -> None:
    shell()


@task
def gather() -> None:
    raise ExceptionGroup("two things went wrong", [TimeoutError("the first"), ValueError("the second")])


@dag(description="Several exceptions at once.", schedule=None, **DAG)
def fails_in_a_group() -> None:
    gather()


@task
def give_up() -> None:
    raise SystemExit(7)


@dag(description="Exits.", schedule=None, **DAG)
def fails_by_exit() -> None:
    give_up()


@task(trigger_rule="all_done")
def leave(code: str | int | None) -> None:
    sys.exit(code)


@task(trigger_rule="all_done")
def drop_out() -> None:
    os._exit(9)


@task(trigger_rule="all_done")
def interrupt() -> None:
    raise KeyboardInterrupt


@dag(description="Exits in five more ways, one after the other.", schedule=None, **DAG)
def fails_by_other_exits() -> None:
    (
        leave.override(task_id="leave_early")(0)
        >> leave.override(task_id="leave_silently")(None)
        >> leave.override(task_id="leave_with_words")("no region, password=correct-horse-battery")
        >> drop_out()
        >> interrupt()
    )


@task(params={"region": Param(type="string")})
def measure() -> None:
    """Never starts: its task param has no value."""


@dag(description="Fails before its task begins.", schedule=None, **DAG)
def fails_before_it_begins() -> None:
    measure()


def complain(_: object) -> None:
    raise RuntimeError("the callback failed, too")


@task(on_failure_callback=complain)
def divide() -> float:
    return 1 / 0


@dag(description="Fails, and so does its callback.", schedule=None, **DAG)
def fails_with_its_callback() -> None:
    divide()


fails_in_the_middle()
fails_in_a_group()
fails_by_exit()
fails_by_other_exits()
fails_before_it_begins()
fails_with_its_callback()
fails_mapped()
fails_slow_task()
fails_slow_run()
fails_by_hand()
fails_killed()
fails_for_good()
fails_beside_a_skip()
fails_in_a_shell()
