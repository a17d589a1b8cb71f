"""The dags of the end-to-end tests."""

from pathlib import Path

DAGS = Path(__file__).parent / "dags"
OWN_DAGS = (
    *("arguments.py", "asking.py", "doc_block.py", "early.py", "factorial.py", "failures.py", "large.py"),
    *("regional_report.py", "shapes.py", "waiting.py"),
)
"""The dag files that exist from the start."""
