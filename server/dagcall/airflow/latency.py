"""How long one kind of request takes, compared with how long it takes while Airflow has little to do.

Pure: every method takes the time. Only like is compared with like: the caller keeps one `Latency` per kind of request.
"""

from dataclasses import dataclass, field

ROUND = 12
"""Answers are compared in rounds by their median: single answers are late for reasons of their own (garbage, locks)."""
LITTLE_USE = 0.5
"""Up to this share of the limit, a gate adds so little that its answers tell how fast Airflow is."""
FORGET_SECONDS = 300.0
"""A calm latency counts for one to two times as long; then Airflow may have moved, or become slower."""

ASSUME_SECONDS = 60.0
"""An assumed latency counts for as long: long enough that a new process learns it from no busy moment."""

SHORTEST_SECONDS = 0.001
"""No Airflow answers faster; what is below is the coarseness of clocks."""


@dataclass(slots=True)
class Latency:
    """The latency of one kind of request.

    The calm latency is the lowest median of the last minutes. A gate that is used fully waits for its own requests and
    those of others, so its rounds may lower the calm latency, but not raise it: otherwise all gates in front of a busy
    Airflow would slowly get used to being slow, and let in more and more.
    """

    assumed: float
    """The calm latency until it is measured in a calm time."""
    _round: list[float] = field(default_factory=list)
    _least_use: float = float("inf")
    _most_use: float = 0.0
    _before: float = 0.0
    _lowest: float = float("inf")
    _since: float | None = None

    def __post_init__(self) -> None:
        self._before = self.assumed

    @property
    def calm(self) -> float:
        """The latency while Airflow has little to do, in seconds."""
        return min(self._before, self._lowest)

    def slowdown(self, seconds: float, *, use: float, now: float) -> float | None:
        """Record an answer; at the end of a round of a fully used gate, return how much slower than calm it was.

        Args:
            seconds: how long the answer took.
            use: which share of the limit was in use, or wanted.
            now: the time.
        """
        self._round.append(seconds)
        self._least_use, self._most_use = min(self._least_use, use), max(self._most_use, use)
        if len(self._round) < ROUND:
            return None
        median = sorted(self._round)[ROUND // 2]
        is_full, is_calm = self._least_use >= 1, self._most_use <= LITTLE_USE
        self._round.clear()
        self._least_use, self._most_use = float("inf"), 0.0
        self._learn(median, now, is_calm=is_calm)
        return max(median, SHORTEST_SECONDS) / max(self.calm, SHORTEST_SECONDS) if is_full else None

    def _learn(self, median: float, now: float, *, is_calm: bool) -> None:
        if self._since is None:
            self._since = now + ASSUME_SECONDS - FORGET_SECONDS
        if is_calm and now - self._since > FORGET_SECONDS:
            if self._lowest < float("inf"):
                self._before = self._lowest
            self._lowest, self._since = median, now
        elif is_calm or median < self.calm:
            self._lowest = min(self._lowest, median)
