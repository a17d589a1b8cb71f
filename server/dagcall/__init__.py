"""dagcall: each allow-listed Airflow dag is one MCP tool; calling the tool runs the dag and returns its XComs.

The packages, from the lowest layer to the highest. Each imports only from lines above its own, and only what the other
package's `__init__` exports; `lint-imports` checks both ([tool.importlinter] in pyproject.toml).

    errors        what can go wrong, sorted by who can fix it
    text          text for models, terminals and logs
    plain_json    JSON of arguments and results
    masking       secrets out of text
    airflow/      Airflow's REST API, 3.1 to 3.3
    auth/         who calls, and what they may do
    dag_files/    a folder of dag files -> its dags, as Airflow would show them
    tools/        a dag and the operator's policy -> an MCP tool; the catalog of all tools
    settings/     dagcall.toml and DAGCALL_*
    results/      a finished run -> plain JSON, a preview, or a report of its failure
    runs/         one call, one run
    lint/         what would leave a model guessing, or make a provider refuse
    log_ins       the settings of a log-in -> credentials for Airflow
    mcp/          the protocol: list, call, tasks, elicitation, progress, audit
    metrics/      what Prometheus reads
    traces/       spans of calls, runs and tasks
    app           the parts wired together
    doctor/       what is wrong between dagcall and Airflow, and what to do
    demo/         a real Airflow on this machine, for trying dagcall out
    cli/          the commands, and the two ways to serve

Besides, used everywhere: `loops` (background loops), `singleflight` (one request for many callers) and `gc_tuning`
(Python's garbage collector).
"""
