"""dagcall: each allow-listed Airflow dag is one MCP tool; calling the tool runs the dag and returns its XComs.

The packages, from what knows nothing to what knows everything. Each imports only from lines above its own, and only
what the other package's `__init__` exports; `lint-imports` checks both ([tool.importlinter] in pyproject.toml).

    errors        what can go wrong, sorted by who can fix it
    text          text as models, terminals and logs may see it
    plain_json    JSON as arguments and results are made of it
    masking       text without the secrets that somebody put into it
    airflow/      Airflow's REST API, 3.1 to 3.3
    auth/         who calls, and what they may do
    tools/        a dag and the operator's policy -> an MCP tool; the catalog of all tools
    settings/     dagcall.toml and DAGCALL_*
    results/      a finished run -> plain JSON, a preview, or a report of its failure
    runs/         one call, one run
    mcp/          the protocol: list, call, tasks, elicitation, progress, audit
    app           the parts wired together
    demo/         a real Airflow on this machine, for trying dagcall out
    cli/          the commands, and the two ways to serve

Beside them, and used everywhere: `loops` (background loops), `singleflight` (one question for many callers) and
`gc_tuning` (when Python searches for garbage).
"""
