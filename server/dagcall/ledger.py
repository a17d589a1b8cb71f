"""What this process knows of its own calls: who still waits for which run, and which answers have arrived.

Pure: every method takes the time. It is a memory, not a store: what matters is in Airflow, and a process that knows
nothing (after a restart, or the other replica) decides on the safe side, which is to take up a run rather than to start
a second one.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

CAPACITY = 10_000
"""Families kept. The oldest is forgotten first; then Airflow is asked, as after a restart."""
REPLAY_SECONDS = 600.0
"""How long after its end an answer that never arrived is still handed to whoever asks again."""


@dataclass(eq=False, slots=True)
class Entry:
    """A run that a call of this process started or took up."""

    run_id: str
    number: int | None
    """Its number in its family; None for a run with an idempotency key."""
    waiting: int = 0
    """How many callers wait for it now."""
    ended_at: float | None = None
    is_delivered: bool = False
    """Whether a caller has had its outcome."""
    is_started: bool = False
    """Whether the run is known to exist in Airflow."""
    on_delivered: Callable[[], None] | None = None
    """Told once, when a caller has had the outcome."""

    def deliver(self) -> None:
        """Take note that a caller has had the outcome."""
        is_first, self.is_delivered = not self.is_delivered, True
        if is_first and self.on_delivered is not None:
            self.on_delivered()

    def is_left(self, now: float) -> bool:
        """Say whether somebody who asks again may be its caller: nobody waits for it, and nobody had its outcome."""
        if self.waiting or self.is_delivered:
            return False
        return self.ended_at is None or now - self.ended_at <= REPLAY_SECONDS


@dataclass(eq=False, slots=True)
class _Family:
    entries: list[Entry] = field(default_factory=list)
    next_number: int = 0


class Ledger:
    """Remembers the runs of recent calls, by family."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._families: OrderedDict[str, _Family] = OrderedDict()

    def left(self, family: str, now: float) -> Entry | None:
        """Return the oldest run of a family that a caller left; None if there is none."""
        known = self._families.get(family)
        return next((entry for entry in known.entries if entry.is_left(now)), None) if known else None

    def begin(self, family: str) -> Entry:
        """Make an entry for the next run of a family. No other call of this process gets its number."""
        known = self._known(family)
        entry = Entry(f"{family}{known.next_number}", known.next_number)
        known.next_number += 1
        known.entries.append(entry)
        return entry

    def keyed(self, run_id: str) -> Entry:
        """Return the entry of a run with an idempotency key."""
        known = self._known(run_id)
        if not known.entries:
            known.entries.append(Entry(run_id, None))
        return known.entries[0]

    def entry(self, run_id: str) -> Entry | None:
        """Return the entry of a run; None if this process does not know it."""
        for family in (run_id, f"{run_id.rpartition('_')[0]}_"):
            known = self._families.get(family)
            for entry in known.entries if known else ():
                if entry.run_id == run_id:
                    return entry
        return None

    def found(self, family: str, run_id: str, number: int, *, ended_at: float | None) -> None:
        """Enter a run that was found in Airflow, as left by its caller, unless it is entered already."""
        known = self._known(family)
        if all(entry.number != number for entry in known.entries):
            known.entries.append(Entry(run_id, number, ended_at=ended_at, is_started=True))

    def skip_to(self, family: str, number: int) -> None:
        """Take note that the numbers below this one are taken."""
        known = self._known(family)
        known.next_number = max(known.next_number, number)

    def forget(self, family: str, entry: Entry) -> None:
        """Take back a number under which nothing was started, so that the next call uses it."""
        known = self._families.get(family)
        if known and entry in known.entries:
            known.entries.remove(entry)
            if entry.number is not None and known.next_number == entry.number + 1:
                known.next_number = entry.number

    def tidy(self, family: str, now: float) -> None:
        """Drop what no call can ask for any more."""
        known = self._families.get(family)
        if known:
            known.entries = [entry for entry in known.entries if entry.waiting or entry.is_left(now)]

    def _known(self, family: str) -> _Family:
        known = self._families.setdefault(family, _Family())
        self._families.move_to_end(family)
        while len(self._families) > self._capacity:
            self._families.popitem(last=False)
        return known
