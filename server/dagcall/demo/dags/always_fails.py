"""For seeing what a caller is told when a dag fails: which task, on which try, with which exception, and the log.

`prepare` succeeds, then `explode` raises a `ValueError` twice: it has one retry.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task


@task
def prepare() -> dict[str, Any]:
    """Succeed, so that the run is seen to fail half-way; answers with what `explode` will say."""
    params = get_current_context()["params"]
    return {"step": params["step"], "message": params["message"]}


@task(retries=1, retry_delay=timedelta(0))
def explode(prepared: dict[str, Any]) -> None:
    """Raise a `ValueError` with the param `message`, on every try."""
    print(f"Working on step {prepared['step']}.")  # noqa: T201 - a task's prints are its log
    raise ValueError(f"Step {prepared['step']} failed: {prepared['message']}")


@dag(
    schedule=None,
    catchup=False,
    tags=["mcp", "demo"],
    max_active_runs=128,
    dag_display_name="Always fails",
    description=(
        "Fail on purpose, on the second try as on the first, to show how a failed run is reported. "
        "The error gives the number `step` and the reason `message`."
    ),
    doc_md=__doc__,
    params={
        "message": Param(
            "it was asked to",
            type="string",
            description="The reason that the error gives.",
            minLength=1,
            maxLength=500,
            examples=["the disk is full"],
        ),
        "step": 3,
    },
)
def always_fails() -> None:
    """Prepare, then explode."""
    explode(prepare())


always_fails()
