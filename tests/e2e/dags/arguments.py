# ruff: noqa: INP001 - a file in a dags folder, not in a package
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""A dag whose id begins with a digit, with params that clients find difficult; it returns what reached its task."""

from typing import Any

from airflow.sdk import DAG, Param, task

POINT = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}

with DAG(
    "7_arguments",
    description="Shows what reached it.",
    schedule=None,
    tags=["mcp"],
    params={
        "config": Param("default", type="string"),
        "options": Param({}, type="object"),
        "self": Param("default", type="string"),
        "_id": Param("default", type="string"),
        "a.b": Param("default", type="string"),
        "model_config": Param("default", type="string"),
        "日期": Param("2026-01-01", type="string", format="date"),
        "count": Param(3, type="integer", minimum=1),
        "counts": Param([], type="array", items={"type": "integer"}),
        "maybe": Param(None, type=["null", "array"], items={"type": "string"}),
        "word": Param("abcdefg1", type="string", pattern=r"^(?=.*\d)\S{8,}$"),
        "point": Param({"x": 0}, **{"$ref": "#/$defs/Point", "$defs": {"Point": POINT}}),
        "anything": None,
    },
):

    @task
    def show(params: Any = None) -> Any:
        return {"params": dict(params), "next": range(params["count"]).stop + 9007199254740993}

    show()
