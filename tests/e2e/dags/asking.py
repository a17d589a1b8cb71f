# ruff: noqa: INP001 - a file in a dags folder, not in a package
# Airflow is not installed in the environment that checks this file.
# mypy: ignore-errors
"""Dags that ask people, with every HITL operator of Airflow."""

from datetime import timedelta

from airflow.providers.standard.operators.hitl import (
    ApprovalOperator,
    HITLBranchOperator,
    HITLEntryOperator,
    HITLOperator,
)
from airflow.sdk import Param, dag, get_current_context, task

DAG = {"tags": ["mcp"], "max_active_runs": 16, "params": {"subject": "Go on?"}}


@task(trigger_rule="none_failed")
def told(*task_ids: str) -> dict:
    """Return the answers to the tasks with these ids."""
    found = {}
    for task_id in task_ids:
        response = get_current_context()["ti"].xcom_pull(task_ids=task_id)
        for index, one in enumerate(response if isinstance(response, list) else [response]):
            if one is not None:
                found[f"{task_id}{index}"] = {key: one[key] for key in ("chosen_options", "params_input")}
    return found


@task
def gone() -> str:
    return "gone"


@dag(schedule=None, description="Ask for an approval.", **DAG)
def ask_approval() -> None:
    approve = ApprovalOperator(
        task_id="approve",
        subject="{{ params.subject }}",
        body="Order **{{ run_id }}**",
        defaults="Reject",
        params={
            "amount": Param(180, type="integer", minimum=1, title="How much", description="In EUR."),
            "note": Param(None, type=["null", "string"]),
        },
    )
    approve >> told("approve")


@dag(schedule=None, description="Ask for several of some options.", **DAG)
def ask_options() -> None:
    ask = HITLOperator(task_id="ask", subject="Which regions?", options=["North", "South", "West"], multiple=True)
    ask >> told("ask")


@dag(schedule=None, description="Ask which way to go.", **DAG)
def ask_branch() -> None:
    ask = HITLBranchOperator(
        task_id="ask",
        subject="Which way?",
        options=["Left", "Right"],
        options_mapping={"Left": "left", "Right": "right"},
    )
    ask >> [gone.override(task_id="left")(), gone.override(task_id="right")()]


@dag(schedule=None, description="Ask for text, a list and a choice.", **DAG)
def ask_form() -> None:
    ask = HITLEntryOperator(
        task_id="ask",
        subject="Where to?",
        params={
            "city": Param(None, type=["null", "string"], minLength=2),
            "stops": Param(["Bern"], type="array", items={"type": "string"}),
            "speed": Param(2, enum=[1, 2, 3]),
            "plain": 1.5,
        },
    )
    ask >> told("ask")


@dag(schedule=None, description="Ask several people at once.", **DAG)
def ask_several() -> None:
    each = ApprovalOperator.partial(task_id="each", subject="Go on?").expand(body=["first", "second"])
    other = HITLOperator(task_id="other", subject="Seen?", options=["OK"])
    [each, other] >> told("each", "other")


@dag(schedule=None, description="Ask somebody in particular.", **DAG)
def ask_mia() -> None:
    ApprovalOperator(task_id="approve", subject="Go on?", assigned_users=[{"id": "mia", "name": "Mia"}])


@dag(schedule=None, description="Ask, but not for long.", **DAG)
def ask_briefly() -> None:
    ask = ApprovalOperator(task_id="ask", subject="Quick!", defaults="Approve", response_timeout=timedelta(seconds=6))
    ask >> told("ask")


ask_approval()
ask_options()
ask_branch()
ask_form()
ask_several()
ask_mia()
ask_briefly()
