"""What is mutated, and which tests should see it.

The modules without input or output of their own. Each names the files of tests/unit that are about it: a fault that
only a test of something else notices by chance is one that its own tests should have seen. It also keeps the slow
tests out: the ones of whole calls and of random lives of calls (`test_life_of_calls`,
`test_one_run_in_every_order`) reach nearly every function, so that each survivor would cost minutes.
"""

from collections.abc import Mapping, Sequence

MODULES: Mapping[str, Sequence[str]] = {
    "runs.call": ("runs/test_call",),
    "runs.deadlines": ("runs/test_deadlines",),
    "runs.form_fields": ("runs/test_hitl_forms",),
    "runs.hitl_forms": ("runs/test_hitl_forms",),
    "runs.intervals": ("runs/test_intervals",),
    "runs.ledger": ("runs/test_ledger", "mcp/test_delivery"),
    "runs.run_ids": ("runs/test_run_ids",),
    "mcp.failure_text": ("results/test_failure_report",),
    "mcp.unanswered": ("mcp/test_unanswered",),
    "results.failure_report": ("results/test_failure_report", "results/test_task_log"),
    "results.preview": ("results/test_preview",),
    "results.results": ("results/test_results",),
    "results.task_log": ("results/test_task_log", "results/test_failure_report"),
    "airflow.clock": ("airflow/test_clock",),
    "airflow.hitl": ("runs/test_hitl_forms",),
    "airflow.import_errors": ("airflow/test_import_errors",),
    "airflow.task_dates": ("airflow/test_task_dates",),
    "auth.accounts": ("auth/test_account_choice",),
    "auth.callers": ("auth/test_callers", "auth/test_rights"),
    "auth.keys": ("auth/test_keys",),
    "auth.rights": ("auth/test_rights",),
    "auth.tokens": ("auth/test_tokens",),
    "tools.client_limits": ("tools/test_client_limits", "tools/test_naming", "tools/test_shapes"),
    "tools.doc_block": ("tools/test_doc_block",),
    "tools.input_schema": ("tools/test_input_schema", "tools/test_shapes"),
    "tools.json_schema": (
        "tools/test_shapes",
        "tools/test_input_schema",
        "tools/test_validation",
        "tools/test_output_schema",
    ),
    "tools.keywords": (
        "tools/test_keywords",
        "tools/test_shapes",
        "tools/test_input_schema",
        "tools/test_output_schema",
    ),
    "tools.markdown": ("test_text", "tools/test_doc_block"),
    "tools.naming": ("tools/test_naming",),
    "tools.output_schema": ("tools/test_output_schema",),
    "tools.patterns": ("tools/test_patterns", "tools/test_shapes"),
    "tools.pins": ("tools/test_pins",),
    "tools.policy": ("tools/test_policy", "tools/test_tool", "auth/test_rights"),
    "tools.shapes": ("tools/test_shapes", "tools/test_input_schema"),
    "tools.validation": ("tools/test_validation", "tools/test_input_schema"),
    "plain_json": ("test_plain_json", "tools/test_input_schema"),
    "text": ("test_text",),
}
"""Module -> the files of tests/unit."""


def group_of(module: str) -> str:
    """Return the package of a module; `dagcall` for those beside the packages."""
    return module.rpartition(".")[0] or "dagcall"


GROUPS: Mapping[str, Sequence[str]] = {
    group: [module for module in MODULES if group_of(module) == group]
    for group in dict.fromkeys(map(group_of, MODULES))
}
