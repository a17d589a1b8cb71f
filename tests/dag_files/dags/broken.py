"""A file that cannot be imported."""

from airflow.sdk import DAG

with DAG("broken", schedule=None):
    raise RuntimeError("this dag file is broken on purpose")
