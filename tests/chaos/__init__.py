"""Random faults, then a check: no call is lost, doubled or answered wrongly, and nothing is unexplained.

schedule      seed and seconds -> the faults and what each caller does; data only
history       the record: calls, attempts, what users did in Airflow, Airflow's runs
judge         history -> what is lost, doubled, wrong or unexplained, each with its story
own_airflow   an Airflow whose processes can be stopped and killed
replicas      two `dagcall serve`, each behind a faulty proxy and with its own clock
faults        injects the scheduled faults
callers       MCP clients that follow the schedule
run           the whole suite, including the calm at the end in which every caller comes back
"""
