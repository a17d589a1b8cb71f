# ruff: noqa: INP001 - a file in a dags folder, not in a package
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""A dag with a dagcall block in its documentation, and one with a mistake in its block."""

from airflow.sdk import Param, dag, get_current_context, task


@task
def add_up() -> float | str:
    """Return the sum: a number, as declared, or text, which does not match the declaration."""
    params = get_current_context()["params"]
    total = sum(params["amounts"])
    return total if params["as_declared"] else f"{total} EUR"


@task
def note(total: float | str) -> str:
    """Run last, so that this task's value would be the result if the block did not name the other task."""
    return f"added up to {total}"


@dag(
    schedule=None,
    tags=["mcp"],
    params={
        "amounts": Param(type="array", items={"type": "number"}, description="What to add up.", examples=[[1, 2.5]]),
        "as_declared": True,
    },
)
def doc_block() -> None:
    """Add up amounts; `as_declared` set to false returns text.

    ```toml dagcall
    title = "Add up"
    results = ["add_up"]
    annotations = { read_only = true, open_world = false }

    [output_schema]
    required = ["add_up"]

    [output_schema.properties.add_up]
    type = "number"
    description = "The sum, in EUR."
    ```
    """
    note(add_up())


@dag(
    schedule=None,
    doc_md="""Its author's block has a mistake in line 5.

```toml dagcall
title = "Mistaken"
anotations = { read_only = true }
```
""",
)
def mistaken_words() -> None:
    """One task."""
    add_up()


doc_block()
mistaken_words()
