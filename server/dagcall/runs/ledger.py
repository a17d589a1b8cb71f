"""What this process knows of its own calls: who waits for which run, and which outcomes were delivered.

Pure: methods take the time as an argument. The ledger is a cache, not a store: the truth is in Airflow. A process that
knows nothing (after a restart, or another replica) decides on the safe side: it adopts a run rather than start a second
one.

Each run with a waiting caller has one entry, regardless of who started the run and how the caller got to it. A run
without an entry could be cancelled while a caller waits, or be returned to two callers by mistake.

The numbers of a family need no store either, because of two rules:

* Number 0 exists in Airflow before any other number is sent (`is_begun`). So a process that knows nothing starts at 0,
  gets a conflict from Airflow, and reads the family.
* After a conflict, no number is given out until the family has been read (`must_learn`); a taken number, never again.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from dagcall.runs.run_ids import split_run_id

CAPACITY = 10_000
"""Families kept, not counting those with waiting callers. The oldest is evicted first; then Airflow is asked, as after
a restart."""
REPLAY_SECONDS = 600.0
"""How long after a run's end an undelivered outcome is still returned to an identical call."""
SHARE_AFTER_SECONDS = 1.0
"""An identical call that arrives this much later may be the retry of a client that timed out silently; calls that
arrive closer together are separate calls."""


@dataclass(eq=False, slots=True)
class Entry:
    """A run that a call of this process started, adopted or waits for."""

    run_id: str
    number: int | None
    """Its number in its family; None for a run with an idempotency key."""
    waiting: int = 0
    """How many callers wait for it now, including those whose answer is being sent."""
    waiting_since: float = 0.0
    """When the first of them called."""
    ended_at: float | None = None
    is_delivered: bool = False
    """Whether its outcome has reached a caller."""
    is_started: bool = False
    """Whether the run is known to exist in Airflow."""
    unsettled: int = 0
    """How many requests to start it were sent with unknown effect."""
    on_delivered: Callable[[], None] | None = None
    """Called once, when the outcome has reached a caller."""

    @property
    def may_exist(self) -> bool:
        """Whether the run exists or may exist."""
        return self.is_started or self.unsettled > 0

    def join(self, now: float) -> None:
        """Count one more waiting caller."""
        if not self.waiting:
            self.waiting_since = now
        self.waiting += 1

    def leave(self) -> None:
        """Count one waiting caller less."""
        self.waiting -= 1

    def deliver(self) -> None:
        """Record that the outcome has reached a caller."""
        is_first, self.is_delivered = not self.is_delivered, True
        if is_first and self.on_delivered is not None:
            self.on_delivered()

    def is_orphaned(self, now: float) -> bool:
        """Say whether an identical call may adopt the run: no caller waits, and the outcome was not delivered."""
        return not self.waiting and self.has_outcome_to_give(now)

    def has_outcome_to_give(self, now: float) -> bool:
        """Say whether the outcome was not delivered, and is still to come or recent enough to replay."""
        return not self.is_delivered and (self.ended_at is None or now - self.ended_at <= REPLAY_SECONDS)


@dataclass(eq=False, slots=True)
class _Family:
    entries: list[Entry] = field(default_factory=list)
    next_number: int = 0
    is_begun: bool = False
    must_learn: bool = False


class Ledger:
    """Remembers the runs of recent calls, by family. A run with an idempotency key is a family of its own."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._families: OrderedDict[str, _Family] = OrderedDict()

    # Choosing a run for a call

    def orphaned(self, prefix: str, now: float) -> Entry | None:
        """Return the oldest run of a family whose caller left; None without one."""
        return next((entry for entry in self._entries(prefix) if entry.is_orphaned(now)), None)

    def shareable(self, prefix: str, asked_at: float) -> Entry | None:
        """Return the run of an earlier, still waiting call that a call arriving at this time may share.

        Prefers started runs, then those with the fewest callers, then the oldest.
        """
        earlier = (
            entry
            for entry in self._entries(prefix)
            if entry.waiting
            and asked_at - entry.waiting_since >= SHARE_AFTER_SECONDS
            and entry.has_outcome_to_give(asked_at)
        )
        return min(earlier, key=lambda entry: (not entry.is_started, entry.waiting), default=None)

    def begin(self, prefix: str) -> Entry:
        """Create an entry for the next run of a family. No other call of this process gets its number."""
        known = self._known(prefix)
        entry = Entry(f"{prefix}{known.next_number}", known.next_number)
        known.next_number += 1
        known.entries.append(entry)
        return entry

    def of_run(self, run_id: str) -> Entry:
        """Return the entry of a run, creating it if this process does not know the run."""
        if (entry := self.entry(run_id)) is not None:
            return entry
        prefix, number = split_run_id(run_id)
        known = self._known(prefix)
        entry = Entry(run_id, number)
        known.entries.append(entry)
        if number is not None:  # the number shows that the family exists, but not how many runs it has
            known.is_begun = known.must_learn = True
        return entry

    def entry(self, run_id: str) -> Entry | None:
        """Return the entry of a run; None if this process does not know it."""
        prefix, _ = split_run_id(run_id)
        return next((entry for entry in self._entries(prefix) if entry.run_id == run_id), None)

    # What is known of families

    def is_known(self, prefix: str) -> bool:
        """Say whether this process knows a family."""
        return prefix in self._families

    def is_begun(self, prefix: str) -> bool:
        """Say whether the first run of a family is known to exist, so that others may start."""
        known = self._families.get(prefix)
        return known is not None and known.is_begun

    def must_learn(self, prefix: str) -> bool:
        """Say whether the runs of a family must be read from Airflow before any number is given out."""
        known = self._families.get(prefix)
        return known is not None and known.must_learn

    def exists(self, entry: Entry) -> None:
        """Record that a run exists in Airflow."""
        entry.is_started = True
        prefix, _ = split_run_id(entry.run_id)
        if prefix in self._families:
            self._families[prefix].is_begun = True

    def taken(self, entry: Entry) -> None:
        """Record that the run with this number is another call's, so the family must be read."""
        self.exists(entry)
        prefix, _ = split_run_id(entry.run_id)
        self._known(prefix).must_learn = True

    def found(self, prefix: str, run_id: str, number: int, *, ended_at: float | None, may_adopt: bool) -> None:
        """Add a run that was found in Airflow.

        Args:
            prefix: its family.
            run_id: the run.
            number: its number in the family.
            ended_at: when it ended, by the loop's clock; None while unfinished.
            may_adopt: whether an identical call may adopt it.
        """
        known = self._known(prefix)
        entry = next((entry for entry in known.entries if entry.number == number), None)
        if entry is None:
            if may_adopt:
                known.entries.append(Entry(run_id, number, ended_at=ended_at, is_started=True))
        elif not entry.waiting:
            entry.ended_at, entry.is_started = ended_at, True
            entry.is_delivered = entry.is_delivered or not may_adopt

    def learned(self, prefix: str, next_number: int) -> None:
        """Record that a family was read, and that the numbers below `next_number` are taken."""
        known = self._known(prefix)
        known.next_number = max(known.next_number, next_number)
        known.must_learn = False

    def forget(self, entry: Entry) -> None:
        """Remove an entry for which nothing was started; the next call gets its number."""
        prefix, _ = split_run_id(entry.run_id)
        known = self._families.get(prefix)
        if known and entry in known.entries:
            known.entries.remove(entry)
            if entry.number is not None and known.next_number == entry.number + 1:
                known.next_number = entry.number

    def tidy(self, prefix: str, now: float) -> None:
        """Drop entries that no call can get any more."""
        known = self._families.get(prefix)
        if known:
            known.entries = [entry for entry in known.entries if entry.waiting or entry.is_orphaned(now)]

    def _entries(self, prefix: str) -> list[Entry]:
        known = self._families.get(prefix)
        return known.entries if known else []

    def _known(self, prefix: str) -> _Family:
        known = self._families.setdefault(prefix, _Family())
        self._families.move_to_end(prefix)
        for _ in range(2):  # two, to catch up on families that had waiting callers when it was their turn
            if len(self._families) <= self._capacity:
                break
            oldest = next(iter(self._families))
            if any(entry.waiting for entry in self._families[oldest].entries):
                self._families.move_to_end(oldest)
            elif oldest != prefix:
                del self._families[oldest]
        return known
