"""What a finished run came to: its XComs as plain JSON, a preview of what is too large, or a report of its failure.

Refuses to know calls: whether anybody waits, and for how long.
"""

from dagcall.results.failure_reader import Dossiers
from dagcall.results.failure_report import Outlook
from dagcall.results.preview import PREVIEW_SHARE, Part, exact_numbers, json_size, json_text, part, preview_of
from dagcall.results.reader import Outcomes
from dagcall.results.results_cache import RecentResults

__all__ = [
    "PREVIEW_SHARE",
    "Dossiers",
    "Outcomes",
    "Outlook",
    "Part",
    "RecentResults",
    "exact_numbers",
    "json_size",
    "json_text",
    "part",
    "preview_of",
]
