"""Prints the dags of a folder as JSON: `python parse_dags.py FOLDER`.

The Python of an environment with Airflow (3.1 to 3.3) runs this file; dagcall is not installed there. So it imports
nothing but Airflow, with pydantic, and the standard library.

Airflow's own code parses each file, stores each dag in its JSON form, restores it and renders it. The output has, of
each dag, the fields of `GET /dags/{dag_id}/details` and `GET /dags/{dag_id}/tasks` that dagcall reads. No database is
read or written, and no server runs.
"""

import json
import os
import sys
import traceback
from pathlib import Path

ANSWER = os.dup(1)
os.dup2(2, 1)  # what Airflow and the dag files print goes to stderr
sys.path.pop(0)  # this file's folder, whose modules are not for dag files
NO_AIRFLOW = 3
TASK_FIELDS = {"task_id", "downstream_task_ids", "trigger_rule", "is_mapped", "start_date", "end_date"}

try:
    import airflow
    from airflow.api_fastapi.core_api.datamodels.dags import DAGDetailsResponse
    from airflow.api_fastapi.core_api.datamodels.tasks import TaskResponse
    from airflow.serialization import serialized_objects
    from pydantic_core import to_json

    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # 3.1
        from airflow.models.dagbag import DagBag
except ImportError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(NO_AIRFLOW)

# `SerializedDAG` has these methods in 3.1 only.
SERIALIZATION = getattr(serialized_objects, "DagSerialization", None) or serialized_objects.SerializedDAG


def parse(folder):
    """Return the dags of a folder, and the files that Airflow cannot import."""
    sys.path.append(str(folder))  # as the dag processor does
    bag = DagBag(dag_folder=str(folder), bundle_path=folder)
    errors = dict(bag.import_errors)
    dags = []
    for dag in sorted(bag.dags.values(), key=lambda dag: dag.dag_id):
        try:
            stored = json.loads(json.dumps(SERIALIZATION.to_dict(dag)))
            dags.append(rendered(SERIALIZATION.from_dict(stored)))
        except Exception:  # noqa: BLE001 - Airflow, too, reports it as an import error
            errors[str(dag.relative_fileloc)] = traceback.format_exc()
    return {
        "version": airflow.__version__,
        "dags": dags,
        "import_errors": [{"filename": name, "stack_trace": text} for name, text in sorted(errors.items())],
    }


def rendered(dag):
    """Return a dag as the REST API shows it, as it is right after its file was first parsed."""
    details = {
        "dag_id": dag.dag_id,
        "dag_display_name": dag.dag_display_name,
        "description": dag.description,
        "tags": [{"name": tag} for tag in sorted(dag.tags)],
        "is_paused": False,
        "is_stale": False,
        "has_import_errors": False,
        "allowed_run_types": getattr(dag, "allowed_run_types", None),  # not in 3.1
        "max_active_runs": dag.max_active_runs,
        "last_parsed_time": None,
        "doc_md": DAGDetailsResponse.get_doc_md(dag.doc_md),
        "params": DAGDetailsResponse.get_params(dag.params),
        "latest_dag_version": None,
    }
    tasks = sorted(dag.tasks, key=lambda task: task.task_id)
    return {
        "details": details,
        "tasks": [TaskResponse.model_validate(task).model_dump(mode="json", include=TASK_FIELDS) for task in tasks],
    }


def main():
    """Print the JSON."""
    found = to_json(parse(Path(sys.argv[1])), inf_nan_mode="null")
    with os.fdopen(ANSWER, "wb") as file:
        file.write(found)
    os._exit(0)  # a dag file may have left a thread behind that would keep the process


if __name__ == "__main__":
    main()
