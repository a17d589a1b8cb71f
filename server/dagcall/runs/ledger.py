"""What this process knows of its own calls: who still waits for which run, and which answers have arrived.

Pure: every method takes the time. It is a memory, not a store: what matters is in Airflow, and a process that knows
nothing (after a restart, or another replica) decides on the safe side, which is to adopt a run rather than to start a
second one.

Each run that somebody waits for has one entry, whoever started the run and on whatever path the caller came to it:
what is not counted here cannot be protected from being cancelled, or handed to two callers by mistake.

The numbers of a family need no store either, because of two rules:

* Number 0 exists in Airflow before any other number is sent there (`is_begun`). So a process that knows nothing, and
  begins at 0, is told by Airflow that there is a family, and asks for it.
* A number that Airflow said to be taken is never given out again, and no other one is, until the family has been read
  (`must_learn`).
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from dagcall.runs.run_ids import family_of

CAPACITY = 10_000
"""Families kept, beside those that somebody waits for. The oldest is forgotten first; then Airflow is asked, as after
a restart."""
REPLAY_SECONDS = 600.0
"""How long after its end an answer that never arrived is still handed to whoever asks again."""
SHARE_AFTER_SECONDS = 1.0
"""An identical call that comes so much later than the first one may be its repeat, by a client that gave up without a
word; calls that come together are calls of their own."""


@dataclass(eq=False, slots=True)
class Entry:
    """A run that a call of this process started, adopted or waits for."""

    run_id: str
    number: int | None
    """Its number in its family; None for a run with an idempotency key."""
    waiting: int = 0
    """How many callers wait for it, or have its answer on the way, now."""
    waiting_since: float = 0.0
    """When the first of them called."""
    ended_at: float | None = None
    is_delivered: bool = False
    """Whether a caller has had its outcome."""
    is_started: bool = False
    """Whether the run is known to exist in Airflow."""
    unsettled: int = 0
    """How many requests to start it were sent and have an effect that is not known."""
    on_delivered: Callable[[], None] | None = None
    """Told once, when a caller has had the outcome."""

    @property
    def may_exist(self) -> bool:
        """Whether the run exists, as far as can be known here."""
        return self.is_started or self.unsettled > 0

    def join(self, now: float) -> None:
        """Count one more caller among those who wait."""
        if not self.waiting:
            self.waiting_since = now
        self.waiting += 1

    def leave(self) -> None:
        """Count one caller less."""
        self.waiting -= 1

    def deliver(self) -> None:
        """Record that a caller has had the outcome."""
        is_first, self.is_delivered = not self.is_delivered, True
        if is_first and self.on_delivered is not None:
            self.on_delivered()

    def is_left(self, now: float) -> bool:
        """Say whether somebody who asks again may be its caller: nobody waits for it, and nobody had its outcome."""
        return not self.waiting and self.has_outcome_to_give(now)

    def has_outcome_to_give(self, now: float) -> bool:
        """Say whether nobody had the outcome of its run, and that is still to come or recent enough."""
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

    def left(self, family: str, now: float) -> Entry | None:
        """Return the oldest run of a family that its caller left; None if there is none."""
        return next((entry for entry in self._entries(family) if entry.is_left(now)), None)

    def shareable(self, family: str, asked_at: float) -> Entry | None:
        """Return the run that a call asked for at this time may share: one that an earlier call still waits for.

        Of several, it is one that is started, then the one with the fewest callers, then the oldest.
        """
        earlier = (
            entry
            for entry in self._entries(family)
            if entry.waiting
            and asked_at - entry.waiting_since >= SHARE_AFTER_SECONDS
            and entry.has_outcome_to_give(asked_at)
        )
        return min(earlier, key=lambda entry: (not entry.is_started, entry.waiting), default=None)

    def begin(self, family: str) -> Entry:
        """Make an entry for the next run of a family. No other call of this process gets its number."""
        known = self._known(family)
        entry = Entry(f"{family}{known.next_number}", known.next_number)
        known.next_number += 1
        known.entries.append(entry)
        return entry

    def of_run(self, run_id: str) -> Entry:
        """Return the one entry of a run; a new one if this process does not know the run."""
        if (entry := self.entry(run_id)) is not None:
            return entry
        family, number = family_of(run_id)
        known = self._known(family)
        entry = Entry(run_id, number)
        known.entries.append(entry)
        if number is not None:  # its number says that there is a family, and not how far that goes
            known.is_begun = known.must_learn = True
        return entry

    def entry(self, run_id: str) -> Entry | None:
        """Return the entry of a run; None if this process does not know it."""
        family, _ = family_of(run_id)
        return next((entry for entry in self._entries(family) if entry.run_id == run_id), None)

    # What is known of families

    def is_known(self, family: str) -> bool:
        """Say whether this process knows anything of a family."""
        return family in self._families

    def is_begun(self, family: str) -> bool:
        """Say whether the first run of a family is known to exist, so that others may follow it."""
        known = self._families.get(family)
        return known is not None and known.is_begun

    def must_learn(self, family: str) -> bool:
        """Say whether Airflow has to be asked for the runs of a family before any number is given out."""
        known = self._families.get(family)
        return known is not None and known.must_learn

    def exists(self, entry: Entry) -> None:
        """Record that a run exists in Airflow."""
        entry.is_started = True
        family, _ = family_of(entry.run_id)
        if family in self._families:
            self._families[family].is_begun = True

    def taken(self, entry: Entry) -> None:
        """Record that the run under this number is another call's; its family has to be learned."""
        self.exists(entry)
        family, _ = family_of(entry.run_id)
        self._known(family).must_learn = True

    def found(self, family: str, run_id: str, number: int, *, ended_at: float | None, may_adopt: bool) -> None:
        """Enter a run that was found in Airflow.

        Args:
            family: what its id begins with.
            run_id: the run.
            number: its number in the family.
            ended_at: when it ended, by the loop's clock; None while it goes on.
            may_adopt: whether it may be the run of a caller who asks again.
        """
        known = self._known(family)
        entry = next((entry for entry in known.entries if entry.number == number), None)
        if entry is None:
            if may_adopt:
                known.entries.append(Entry(run_id, number, ended_at=ended_at, is_started=True))
        elif not entry.waiting:
            entry.ended_at, entry.is_started = ended_at, True
            entry.is_delivered = entry.is_delivered or not may_adopt

    def learned(self, family: str, next_number: int) -> None:
        """Record that the runs of a family were read, and that the numbers below this one are taken."""
        known = self._known(family)
        known.next_number = max(known.next_number, next_number)
        known.must_learn = False

    def forget(self, entry: Entry) -> None:
        """Take back a number under which nothing was started, so that the next call uses it."""
        family, _ = family_of(entry.run_id)
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

    def _entries(self, family: str) -> list[Entry]:
        known = self._families.get(family)
        return known.entries if known else []

    def _known(self, family: str) -> _Family:
        known = self._families.setdefault(family, _Family())
        self._families.move_to_end(family)
        for _ in range(2):  # two, so that families that could not be forgotten in time are forgotten later
            if len(self._families) <= self._capacity:
                break
            oldest = next(iter(self._families))
            if any(entry.waiting for entry in self._families[oldest].entries):
                self._families.move_to_end(oldest)
            elif oldest != family:
                del self._families[oldest]
        return known
