"""dagcall as a process of its own, with the fake Airflow on a real socket."""
