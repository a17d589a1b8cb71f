"""dagcall: each allow-listed Airflow dag is one MCP tool; calling the tool runs the dag and returns its XComs.

The map, from what knows nothing to what knows everything. A module imports only from lines above its own
(tests/unit/test_layers.py holds the list of allowed imports).

    errors        what can go wrong, sorted by who can mend it
    wording       turns of phrase that several messages share
    model         Airflow's nouns as frozen dataclasses: dag, param, run, task, task instance
    naming        dag id -> tool name, and odd param name -> property name
    arguments     what arguments may be, before any schema is asked
    schemas       params -> input schema; arguments -> conf, or one sentence per bad argument
    results       stored XComs -> plain JSON
    failures      failed task instances and their log -> the text a caller reads
    policy        what the operator says of a tool
    tools         dag + policy -> the tool on the wire
    answers       what a call came to -> the result on the wire
    pins          tool_schemas/: canonical text, comparison, readable differences
    waiting       how long until the next look at a run
    pressure      how much Airflow takes just now: limit, breaker, retry budget
    identity      run ids: whose call, and which
    ledger        what this process knows of its own calls
    delivery      whether an answer reached its caller
    config        the one reader of the environment and of dagcall.toml
    gate          how many requests to Airflow may be in flight, and who is next
    credentials   the token for Airflow, renewed before it runs out
    rest          one request to Airflow, and every way in which it can fail; the one importer of httpx
    airflow       Airflow's REST API, one method per question
    catalog       allow-list x Airflow x pins -> the tools published now
    waiter        everyone who waits for a run, told when it ends
    receipts      writes into Airflow which outcomes have arrived
    outcomes      what a run that succeeded came to
    dossiers      why a run failed
    progress      what a caller is told while its call goes on
    starting      one call, one run: new, or the one that is there already
    runs          one call from start to end
    mcp_server    the MCP surface: list, call, errors -> results
    assembly      every part wired together
    stdin         stdin as a stream that we can end, too
    serve         stdio and Streamable HTTP, start to clean stop
    cli           serve | tools | call | pin | check | demo
    demo/         a real Airflow on this machine, for trying dagcall out
"""
