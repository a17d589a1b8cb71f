"""What is mutated, and which tests should see it.

The modules without input or output of their own. Each names the files of tests/unit that are about it: a fault that
only a test of something else notices by chance is one that its own tests should have seen. It also keeps the slow
tests out: the ones of whole calls and of random lives of calls (`test_life_of_calls`,
`test_one_run_in_every_order`) reach nearly every function, so that each survivor would cost minutes.
"""

from collections.abc import Mapping, Sequence

GROUPS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "runs": {
        "ledger": ("ledger", "delivery"),
        "calls": ("unstarted_calls",),
        "deadlines": ("deadlines",),
        "waiting": ("waiting",),
        "task_dates": ("task_dates",),
        "airflow_clock": ("airflow_clock",),
        "unanswered": ("unanswered",),
        "forms": ("questions",),
        "questions": ("questions",),
    },
    "results": {
        "results": ("results",),
        "excerpts": ("excerpts",),
        "outputs": ("outputs",),
        "failures": ("failures", "logs"),
        "logs": ("logs", "failures"),
        "import_errors": ("import_errors",),
    },
    "auth": {
        "accounts": ("account_choice",),
        "callers": ("callers", "rights"),
        "identity": ("identity",),
        "keys": ("keys",),
        "rights": ("rights",),
        "tokens": ("tokens",),
    },
    "tools": {
        "naming": ("naming",),
        "schemas": ("schemas", "shapes"),
        "shapes": ("shapes", "schemas"),
        "dialect": ("shapes", "schemas", "checking", "outputs"),
        "patterns": ("patterns", "shapes"),
        "keywords": ("keywords", "shapes", "schemas", "outputs"),
        "checking": ("checking", "schemas"),
        "arguments": ("arguments", "schemas"),
        "authoring": ("authoring",),
        "prose": ("prose", "untrusted"),
        "pins": ("pins",),
        "policy": ("policy", "tools", "rights"),
        "clients": ("clients", "naming", "shapes"),
    },
}
MODULES: Mapping[str, Sequence[str]] = {
    module: tests for modules in GROUPS.values() for module, tests in modules.items()
}
