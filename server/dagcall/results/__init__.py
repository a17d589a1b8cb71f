"""The outcome of a finished run: its XComs as plain JSON, a preview of large results, or a failure report.

Refuses to know calls: whether one waits, and for how long.
"""

from dagcall.results.failure_reader import FailureReader
from dagcall.results.failure_report import (
    MAX_GROUPS,
    Cause,
    FailureKind,
    FailureReport,
    Group,
    MissingLog,
    Omission,
    Reason,
    ReasonKind,
    RetryAdvice,
)
from dagcall.results.preview import PREVIEW_SHARE, Page, exact_numbers, json_size, json_text, part, preview_of
from dagcall.results.reader import ResultReader
from dagcall.results.results import Results
from dagcall.results.results_cache import ResultsCache
from dagcall.results.task_log import MAX_LINE_CHARACTERS

__all__ = [
    "MAX_GROUPS",
    "MAX_LINE_CHARACTERS",
    "PREVIEW_SHARE",
    "Cause",
    "FailureKind",
    "FailureReader",
    "FailureReport",
    "Group",
    "MissingLog",
    "Omission",
    "Page",
    "Reason",
    "ReasonKind",
    "ResultReader",
    "Results",
    "ResultsCache",
    "RetryAdvice",
    "exact_numbers",
    "json_size",
    "json_text",
    "part",
    "preview_of",
]
