"""Faults at random, and a count at the end: no call lost, none doubled, none answered wrong, nothing unexplained.

schedule      seed and seconds -> which fault when, and what each caller does; data, and nothing else
history       what is written down: calls, attempts, what people did in Airflow, Airflow's runs
judge         such a history -> what is lost, doubled, wrong or unexplained in it, each with its story
own_airflow   an Airflow whose processes may be stopped and killed
replicas      two `dagcall serve`, each behind a faulty proxy and with a clock of its own
faults        carries out what the schedule says
callers       MCP clients that do what the schedule says
run           all of it, and the calm at the end in which everybody comes back once
"""
