"""What dagcall costs and what it adds, measured: `make bench`, or `python -m bench GROUP…`.

table             rows and columns, on the screen and in results.json
machine           what it ran on; CPU and memory of a process
servers           the processes that are measured, and how they are started and stopped
fake_server       (a process) tests/fake_airflow behind a socket
instant_server    (a process) dagcall with an Airflow in its own memory
bare_server       (a process) the least that an MCP server on the SDK can be
stock_airflow     a real Airflow with the settings that it comes with
counting_proxy    how many requests reach Airflow, and how many at once
mcp_client        calls over HTTP, cheap enough for 10,000 at once
subjects          the three ways to run a dag and wait: dagcall, a plain script, astro-airflow-mcp
startup, cpu, memory                   groups of rows that need no Airflow
delay, parallel, waiting, discovery    groups of rows that need one
"""
