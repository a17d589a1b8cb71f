"""A file that cannot be imported; its dag must not disturb the others."""

from airflow.sdk import DAG

with DAG("broken", schedule=None):
    raise RuntimeError("this dag file is broken on purpose")
