"""`dagcall demo`: a real Airflow on an embedded PostgreSQL with example dags, and dagcall in front of it.

It needs Python and nothing else: no Docker, no root, no database. Where to look:

* `command.py` - what happens in which order, and what is printed at the end.
* `installation.py` - Airflow's own virtual environment, made once per machine, from `airflow-3.3.2.txt`.
* `folder.py` - the demo's folder: passwords and keys, logs, the lock that keeps two demos apart.
* `stack.py` - PostgreSQL and the components of Airflow: their settings, and when they are ready.
* `processes.py` - starting, watching and stopping child processes; `child.py` - their first lines.
* `examples.py` - one example call for each tool.
* `progress.py` - a line per step, on a terminal and elsewhere.
* `dags/` - the dags. They run in Airflow, not here.

Nothing runs at import time.
"""
