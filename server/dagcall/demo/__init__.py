"""`dagcall demo`: a real Airflow on an embedded PostgreSQL with example dags, and dagcall in front of it.

It needs only Python: no Docker, no root, no database. The modules:

* `command.py` - the order of the steps.
* `introduction.py` - the text printed when the demo is ready.
* `installation.py` - Airflow's virtual environment, created once per machine from `airflow-3.3.2.txt`.
* `folder.py` - the demo's folder: passwords and keys, logs, and a lock against a second demo.
* `stack.py` - PostgreSQL and the components of Airflow: settings, start, readiness.
* `processes.py` - starting, watching and stopping child processes; `child.py` - their first lines.
* `examples.py` - one example call for each tool.
* `progress.py` - a line per step, live on a terminal.
* `dags/` - the dags. They run in Airflow, not here.

Nothing runs at import time.
"""
