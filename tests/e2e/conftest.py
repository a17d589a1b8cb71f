"""The dags of the end-to-end tests."""

from pathlib import Path

DAGS = Path(__file__).parent / "dags"
OWN_DAGS = [
    DAGS / f"{name}.py"
    for name in (
        *("arguments", "asking", "doc_block", "early", "factorial", "failures", "large"),
        *("regional_report", "shapes", "waiting"),
    )
]
"""The dag files that exist from the start."""
