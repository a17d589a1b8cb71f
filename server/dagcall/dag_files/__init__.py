"""A folder of dag files -> its dags, as Airflow's REST API would show them once the files are deployed.

Another Python parses the files, that of an environment with Airflow: `parse_dags.py` is its program, which nothing here
imports. Refuses to know tools and the allow-list.
"""

from dagcall.dag_files.dag_files import DagFiles
from dagcall.dag_files.reading import read_dag_files

__all__ = ["DagFiles", "read_dag_files"]
