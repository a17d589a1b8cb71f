"""What would leave a model guessing, or make a provider refuse: rules about the tools that a catalog publishes.

`rules` is the table, `providers` has what model providers and clients publish about themselves, and `tokens` estimates
what a tool costs. All three are pure; `recent_runs` reads Airflow. Refuses to know where the dags come from, and how
findings are shown.
"""

from dagcall.lint.providers import CLIENT_TIMEOUTS, PROVIDERS, Transport
from dagcall.lint.recent_runs import read_recent_runs
from dagcall.lint.rules import RULES, WHOLE_LIST, Evidence, Finding, Level, RecentRuns, findings_about
from dagcall.lint.tokens import estimated_tokens

__all__ = [
    "CLIENT_TIMEOUTS",
    "PROVIDERS",
    "RULES",
    "WHOLE_LIST",
    "Evidence",
    "Finding",
    "Level",
    "RecentRuns",
    "Transport",
    "estimated_tokens",
    "findings_about",
    "read_recent_runs",
]
