"""Dags by shape: task groups, mapped tasks, several leaves, declared results, odd ids, states and dates."""

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, dag, task, task_group


@dag(tags=["shapes", "mcp"], description="Adds one.", dag_display_name="Add one", params={"x": 1}, schedule=None)
def one_task() -> None:
    """Add one to `x`.

    The second paragraph.
    """

    @task
    def add(params: Any = None) -> Any:
        return params["x"] + 1

    add()


@dag(tags=["shapes"], schedule=None)
def grouped() -> None:
    @task
    def first() -> Any:
        return 1

    @task_group
    def group() -> None:
        @task
        def inner(x: Any) -> Any:
            return x + 1

        @task
        def other(x: Any) -> Any:
            return x + 2

        value = first()
        inner(value)
        other(value)

    group()


@dag(tags=["shapes"], schedule=None)
def mapped() -> None:
    @task
    def numbers() -> Any:
        return [1, 2, 3]

    @task
    def double(x: Any) -> Any:
        return 2 * x

    @task
    def total(values: Any) -> Any:
        return sum(values)

    total(double.expand(x=numbers()))


@dag(tags=["shapes"], schedule=None)
def mapped_leaf() -> None:
    @task
    def double(x: Any) -> Any:
        return 2 * x

    double.expand(x=[1, 2, 3])


@dag(tags=["shapes"], schedule=None)
def declared_result() -> Any:
    """From Airflow 3.3 on, what the dag function returns is the dag's result."""

    @task
    def answer() -> Any:
        return 42

    @task
    def afterwards(x: Any) -> Any:
        return -x

    value = answer()
    afterwards(value)
    return value


@dag(dag_id="team.north.report-v1.2", tags=["shapes", "a tag"], schedule=None)
def dotted() -> None:
    @task
    def say() -> Any:
        return "dots"

    say()


@dag(dag_id="long_" + "x" * 195, tags=["shapes"], schedule=None)
def long_id() -> None:
    @task
    def say() -> Any:
        return "long"

    say()


@dag(is_paused_upon_creation=True, tags=["shapes", "mcp"], schedule=None)
def paused() -> None:
    @task
    def say() -> Any:
        return "never"

    say()


with DAG("no_tasks", tags=["shapes"], schedule=None):
    pass

with DAG("dated", tags=["shapes"], schedule=None, start_date=datetime(2000, 1, 1, tzinfo=UTC)):

    @task
    def always() -> Any:
        return 1

    @task(start_date=datetime(2099, 1, 1, tzinfo=UTC))
    def later(x: Any) -> Any:
        return x

    @task(end_date=datetime(2020, 1, 1, tzinfo=UTC))
    def earlier(x: Any) -> Any:
        return x

    value = always()
    later(value)
    earlier(value)


with DAG("not_begun", tags=["shapes"], schedule=None, start_date=datetime(2099, 1, 1, tzinfo=UTC)):

    @task
    def work() -> Any:
        return 1

    work()


with DAG("held_back", tags=["shapes"], schedule=None):

    @task(depends_on_past=True)
    def in_order() -> Any:
        return 1

    @task(pool="nowhere")
    def pooled() -> Any:
        return 2

    in_order()
    pooled()


for make in (one_task, grouped, mapped, mapped_leaf, declared_result, dotted, long_id, paused):
    make()
