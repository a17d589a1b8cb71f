"""For seeing how a run gets on: tasks that take a second or two each, some of them side by side.

`plan` is followed by one mapped `bake` per batch; beside these run `heat_shop` and `lay_tables`, and `open_shop` waits
for all. With the defaults that is eight tasks and about seven seconds. The value of `open_shop`, the dag's result:

```json
{"batches": [{"batch": 1, "loaves": 12}], "loaves": 12, "ready": ["shop heated", "tables laid"], "seconds_of_work": 5.0}
```

`seconds_of_work` adds up the waiting of all tasks; the run is shorter where some of it happens at the same time.
"""

import time
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

LOAVES = 12  # in a batch


def work(what: str) -> float:
    """Take the time that the param `seconds` says.

    Returns:
        That number of seconds.
    """
    seconds = float(get_current_context()["params"]["seconds"])
    print(f"{what}: {seconds:g} s")  # noqa: T201 - a task's prints are its log
    time.sleep(seconds)
    return seconds


@task(retries=0)
def plan() -> list[int]:
    """Number the batches."""
    work("planning")
    return list(range(1, int(get_current_context()["params"]["batches"]) + 1))


@task(retries=0)
def bake(batch: int) -> dict[str, int]:
    """Bake one batch."""
    work(f"baking batch {batch}")
    return {"batch": batch, "loaves": LOAVES}


@task(retries=0)
def heat_shop() -> str:
    """Heat the shop, while the bread is baked."""
    work("heating the shop")
    return "shop heated"


@task(retries=0)
def lay_tables(done: str) -> list[str]:
    """Lay the tables once it is warm."""
    work("laying the tables")
    return [done, "tables laid"]


@task(retries=0)
def open_shop(batches: list[dict[str, int]], ready: list[str]) -> dict[str, Any]:
    """Add everything up."""
    seconds = work("opening")
    baked = list(batches)
    return {
        "batches": baked,
        "loaves": sum(batch["loaves"] for batch in baked),
        "ready": ready,
        "seconds_of_work": round(seconds * (len(baked) + 4), 3),
    }


@dag(
    schedule=None,
    catchup=False,
    tags=["mcp", "demo"],
    max_active_runs=128,
    dag_display_name="Slow steps",
    description="Open an imaginary bakery in several slow steps, to show how a run gets on. Returns what was done.",
    doc_md=__doc__,
    params={
        "batches": Param(4, type="integer", description="How many batches are baked.", minimum=1, maximum=20),
        "seconds": Param(
            1.0, type="number", description="How many seconds each step takes.", minimum=0, maximum=60, examples=[2]
        ),
    },
)
def slow_steps() -> Any:
    """Plan; bake and make ready side by side; open."""
    batches = bake.expand(batch=plan())
    return open_shop(batches, lay_tables(heat_shop()))


slow_steps()
