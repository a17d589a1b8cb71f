# ruff: noqa: INP001 - a file in a dags folder, not in a package
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""Results too large for one answer: many rows, a long text, and an object that is wide and deep."""

from airflow.sdk import Param, dag, get_current_context, task


@task
def make_rows() -> list[dict]:
    """Return numbered rows, so that a test can check that none is missing."""
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
    """Return numbered lines."""
    return "".join(f'{number}: "über" \\ 東京\n' for number in range(100_000))


@dag(schedule=None, tags=["mcp"])
def large_text() -> None:
    """About 3 MB, with many characters that are escaped or take several bytes."""
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
    """About 0.2 MB; each level is small."""
    make_tree()


large_rows()
large_text()
deep_object()
