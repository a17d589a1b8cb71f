"""When a call reached each of its phases, for metrics and traces.

Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

Phase = Literal["line", "start", "run", "answer"]
"""The phases of a call, in order.

* line: until its trigger is sent; it waits for its turn, and is validated.
* start: until Airflow has confirmed the run.
* run: until dagcall sees the run's end.
* answer: until the answer is ready: reading results, or why the run failed.
"""
PHASES: tuple[Phase, ...] = get_args(Phase)


@dataclass(slots=True)
class CallTimes:
    """When a call entered each phase, by the loop's clock; None if it skipped it, or ended before."""

    line: float | None = None
    start: float | None = None
    run: float | None = None
    answer: float | None = None

    def enter(self, phase: Phase, now: float) -> None:
        """Record the beginning of a phase; of several, the first beginning, but the last `answer`."""
        if phase == "answer" or getattr(self, phase) is None:
            setattr(self, phase, now)

    def spans(self, until: float) -> Iterator[tuple[Phase, float, float]]:
        """Yield each phase with its beginning and end; the last one lasts `until` then."""
        begun = [(phase, at) for phase in PHASES if (at := getattr(self, phase)) is not None]
        ends = [*(at for _, at in begun[1:]), until]
        for (phase, at), end in zip(begun, ends, strict=False):
            yield phase, at, max(end, at)
