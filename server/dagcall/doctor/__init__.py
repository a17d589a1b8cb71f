"""`dagcall doctor`: looks at dagcall, Airflow and what is between them, and says what is wrong and what to do.

`checks` is the table of all checks. A check asks with a probe, which returns plain facts; a pure function judges them.
Probes only read: they start no run and change nothing, and are few. A check that needs another one that failed is
skipped, so that the first failure is the one to read.

Refuses to know terminals and exit codes. Exports the examination and what it yields.
"""

from dagcall.doctor.examination import Outcome, examine
from dagcall.doctor.finding import Finding, Status

__all__ = ["Finding", "Outcome", "Status", "examine"]
