"""Makes the checks one after the other, and skips those that need one that failed."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from dagcall.app import known_secrets
from dagcall.doctor.checks import Check, checks_for
from dagcall.doctor.finding import Finding, Status, failure, skipped
from dagcall.doctor.probes import Probes, probing
from dagcall.errors import AirflowError
from dagcall.masking import Masker
from dagcall.settings import Settings
from dagcall.text import in_one_line


@dataclass(frozen=True, slots=True)
class Outcome:
    """One check and what it found, in one line each, without secrets."""

    name: str
    meaning: str
    """What the check tells, as a question."""
    finding: Finding
    blocked_by: str = ""
    """The check that has to be well before this one can be made; empty if this one was made."""


async def examine(
    settings: Settings, *, dag_id: str | None = None, own_clock: Callable[[], datetime] | None = None
) -> AsyncIterator[Outcome]:
    """Make all checks, and yield what each found as soon as it is known.

    Args:
        settings: the settings.
        dag_id: the dag to check rights on; None for the first that the allow-list selects.
        own_clock: the time in UTC by this machine's clock, for tests.

    Raises:
        ConfigError: a file that the settings name cannot be used.
    """
    masker = Masker(known_secrets(settings))
    clock = own_clock or (lambda: datetime.now(UTC))  # noqa: TID251 - the real clock, except in tests
    made: dict[str, Outcome] = {}
    async with probing(settings, dag_id=dag_id, own_clock=clock) as probes:
        for check in checks_for(settings):
            if blocker := blocker_of(check.needs, made):
                outcome = Outcome(check.name, check.meaning, skipped(f"needs: {blocker}"), blocker)
            else:
                finding = await _finding(check, probes)
                outcome = Outcome(check.name, check.meaning, _shown(finding, masker))
            made[check.name] = outcome
            yield outcome


def blocker_of(needs: Iterable[str], made: Mapping[str, Outcome]) -> str:
    """Return the check at which the needs of another one end; empty if all are well.

    That is the first in the chain, not the next: what depends on a failed log-in needs the log-in.
    """
    for need in needs:
        outcome = made[need]
        if outcome.finding.status not in {Status.OK, Status.WARNING}:
            return outcome.blocked_by or outcome.name
    return ""


async def _finding(check: Check, probes: Probes) -> Finding:
    try:
        facts = await check.probe(probes)
    except AirflowError as error:  # its message says what to do
        return failure(str(error))
    return check.judge(facts)


def _shown(finding: Finding, masker: Masker) -> Finding:
    found, advice = (in_one_line(masker.masked(text)) for text in (finding.found, finding.advice))
    return replace(finding, found=found, advice=advice)
