"""dagcall: each allow-listed Airflow dag is one MCP tool; calling the tool runs the dag and returns its XComs.

The map, from what knows nothing to what knows everything. A module imports only from lines above its own
(tests/unit/test_layers.py holds the list of allowed imports).

    errors        what can go wrong, sorted by who can mend it
    wording       turns of phrase that several messages share
    prose         what people wrote, as a model should read it
    values        what every call makes, and nobody changes
    model         Airflow's nouns as dataclasses that nobody changes: dag, param, run, task, task instance
    keywords      the keywords of JSON Schema, by what stands behind them
    patterns      regular expressions that mean the same to every client
    clients       which client refuses what: the one table
    naming        dag id -> tool name, and odd param name -> property name
    arguments     what arguments may be, before any schema is asked
    checking      JSON Schema's verdict on a value, in bounded time
    dialect       JSON Schema in one dialect: 2020-12, with references that hold
    shapes        such a schema -> one that every MCP client takes
    schemas       params -> input schema; arguments -> conf, or one sentence per bad argument
    task_dates    why a run has no instance of a task
    results       stored XComs -> plain JSON
    sights        task instances -> how far a run is
    masking       texts without the secrets that somebody put into them
    logs          the log of a task -> what the task itself wrote
    import_errors   files of dags that Airflow cannot import -> a hint for the operator
    failures      a failed run -> the text its caller reads
    outputs       what an answer looks like: output schemas, and the check of what they declare
    callers       who calls, and what an authorization server's claims say of them
    rights        whom a selector of callers means
    policy        what the operator says of a tool
    authoring     what the dag's author says of it, in doc_md
    tools         dag + policy -> the tool on the wire
    forms         a property of a schema -> a field of an MCP form, and what comes back -> its value
    questions     what a run asks a person -> a form; the filled-in form -> Airflow's response
    unanswered    questions that came back without an answer, as marks in the note of their run
    excerpts      what fits of a value that is too large: a preview, or one part after the other
    answers       what a call came to -> the result on the wire
    pins          tool_schemas/: canonical text, comparison, readable differences
    waiting       how long until the next look at a run
    handles       a task of MCP's tasks extension, as it goes over the wire
    keys          named keys for callers without an authorization server
    pressure      how much Airflow takes just now: limit, breaker, retry budget
    identity      run ids: whose call, and which
    deadlines     how long work for callers may take
    ledger        what this process knows of its own calls
    delivery      whether an answer reached its caller
    line_ends     JSON that every client reads alike, in event streams and on stdio
    pin_folder    the folder of pins, as it is now
    authentication   `[auth]`: how callers prove who they are
    allowances    `[limits]`, `[audit]`, `[[accounts]]`: how far callers may go, and what is kept of it
    connection    `[airflow]`: where Airflow is, how to log in, how much to ask of it
    config        the one reader of the environment and of dagcall.toml
    loops         loops in the background, which go on whatever goes wrong in one turn
    shared        questions that many callers have in the same moment
    gate          how many requests to Airflow may be in flight, and who is next
    credentials   the token for Airflow, renewed before it runs out
    airflow_clock   the time by Airflow's clock, as its answers tell it
    transport     bytes to Airflow and back, and every way in which they do not arrive; the one importer of httpx
    probing       looks whether Airflow is back while no request is let through
    rest          one request to Airflow: credentials, the gate, retries, and what each status means
    tokens        what an authorization server says of a caller: JWTs, or introspection
    admission     whom HTTP lets in, and what it tells the others
    accounts      in whose name Airflow starts a caller's runs
    releases      what Airflow has from which version on
    listings      Airflow's lists, read whole, and the paths of what stands in them
    xcoms         what the tasks of a run have stored
    surroundings  other runs of a run's dag, and the scheduler
    airflow       Airflow's REST API, one method per question
    remembered    the dags as last read, in a file for the next start
    catalog       allow-list x Airflow x pins -> the tools published now
    waiter        everyone who waits for a run, told when it ends
    receipts      writes into Airflow which outcomes have arrived
    mismatches    tells the operator when results are not as declared
    replies       takes what people answered to Airflow
    outcomes      what a run that succeeded came to
    dossiers      why a run failed
    insight       what goes on inside the runs that are waited for
    progress      what a caller is told while its call goes on
    answering     a run that a caller waits for -> the answer to its call
    leaving       callers who leave, and runs that are stopped
    recent        results that were read lately
    calls         one call of a tool, and the run that it gets
    quotas        how much one caller may start
    starting      one call, one run: new, or the one that is there already
    runs          one call from start to end
    origins       where a request comes from: its caller, and what it says of itself
    handshake     Streamable HTTP as clients of before 2026-07-28 use it
    audit         one line of JSON for each call
    announcements   tells clients that their list has changed
    people        asks the person behind a call what its run wants to know
    resources     results of a caller's own runs, part by part
    attendance    runs that are waited for in the stead of clients who ask now and then
    tasks         MCP's tasks extension: a handle at once, and the requests that follow it
    mcp_server    the MCP surface: list, call, errors -> results
    assembly      every part wired together
    stdio         stdin as a stream that we can end, and stdout as one that says which answers were written
    serve         stdio and Streamable HTTP, start to clean stop
    remote        a server that runs already, to call its tools
    questionnaire asks in a terminal what a server wants to know
    calling       one call from a terminal
    terminal      tables, JSON and messages for people
    garbage       Python's search for garbage, kept away from what is loaded once, and short while calls wait
    cli           serve | tools | call | pin | check | key | demo
    demo/         a real Airflow on this machine, for trying dagcall out
"""
