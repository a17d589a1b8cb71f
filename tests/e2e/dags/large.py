# ruff: noqa: INP001 - a file for a dags folder, not of a package
# Airflow is not in the environment that checks this.
# mypy: ignore-errors
"""Results too large for one answer: many rows, a long text, and an object that is wide and deep."""

from airflow.sdk import Param, dag, get_current_context, task


@task
def make_rows() -> list[dict]:
    """Number the rows, so that everybody can check that none is missing."""
    count = get_current_context()["params"]["rows"]
    return [
        {"id": number, "square": number**2, "name": f"Zeile für {number}", "note": "é" * 30} for number in range(count)
    ]


@dag(schedule=None, tags=["mcp"], params={"rows": Param(40_000, type="integer", minimum=0)})
def large_rows() -> None:
    """About 5 MB."""
    make_rows()


@task
def make_text() -> str:
    """Number the lines."""
    return "".join(f'{number}: "über" \\ 東京\n' for number in range(100_000))


@dag(schedule=None, tags=["mcp"])
def large_text() -> None:
    """About 3 MB, much of it in need of escapes or of more than one byte."""
    make_text()


@task
def make_tree() -> dict:
    """Nest lists and objects 40 deep, and fill each level."""
    tree = {"leaf": "ground", "filling": "x" * 5_000}
    for level in range(40, 0, -1):
        tree = {"level": level, "filling": ["x" * 1_000] * 4, "a/b~c": [tree, level]}
    return tree


@dag(schedule=None, tags=["mcp"])
def deep_object() -> None:
    """About 0.2 MB; no level is large."""
    make_tree()


large_rows()
large_text()
deep_object()
