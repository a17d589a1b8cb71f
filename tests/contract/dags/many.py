"""More dags than one page of Airflow's API holds."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

for number in range(120):
    with DAG(f"many_{number:03}", schedule=None, tags=["many", "even" if number % 2 == 0 else "odd"]):
        EmptyOperator(task_id="nothing")
