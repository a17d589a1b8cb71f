"""A dag that Airflow parses, but cannot store."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("not_storable", schedule=None, params={"lock": object()}):
    EmptyOperator(task_id="nothing")
