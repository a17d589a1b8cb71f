"""Whether Airflow's components run, whether its streams arrive, and how many requests it answers at once.

Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from dagcall.airflow import Heartbeat, RunKey
from dagcall.doctor.finding import Finding, duration, failure, ok, skipped, warning

SLOW_SECONDS = 1.0
LATE = 2.0
"""So many times as long as a single answer is late."""
SLACK_SECONDS = 0.01

STOPPED: Mapping[str, tuple[str, str]] = {
    "scheduler": ("runs stay queued", "airflow scheduler"),
    "triggerer": ("deferred tasks (sensors, and before Airflow 3.3 questions to people) wait", "airflow triggerer"),
    "dag_processor": ("new, changed and repaired dags are not noticed", "airflow dag-processor"),
}
"""Component -> what happens without it, and the command that starts it."""


@dataclass(frozen=True, slots=True)
class ComponentFacts:
    """One of Airflow's components."""

    name: str
    heartbeat: Heartbeat
    seconds_ago: float | None
    """How long ago the last heartbeat was, by Airflow's clock."""


def judge_component(facts: ComponentFacts) -> Finding:
    """Judge whether a component runs."""
    without, command = STOPPED[facts.name]
    ago = facts.seconds_ago
    if facts.heartbeat.status == "healthy":
        return ok("running" if ago is None else f"last heartbeat {duration(max(ago, 0))} ago")
    advice = f"Start it ({command}), and read its log"
    if ago is not None:
        return failure(f"no heartbeat for {duration(ago)}: {without}", advice)
    if facts.heartbeat.status is None:
        return warning(f"Airflow has never seen one: {without}", f"If your dags need it, start it ({command})")
    return failure(f"Airflow has never seen one: {without}", advice)


def judge_database(facts: Heartbeat) -> Finding:
    """Judge whether Airflow reaches its database."""
    if facts.status == "healthy":
        return ok("reached by the api-server")
    return failure(
        "Airflow does not reach its database", "Read the log of Airflow's api-server, and check its database"
    )


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """A stream of the states of an unfinished run."""

    run: RunKey | None
    """None if no run is unfinished."""
    seconds: float | None = None
    """How long the first state took; None if it did not come in time."""
    is_over: bool = False
    """Whether the run ended meanwhile: any proxy passes on an answer that has ended."""
    waited: float = 0.0


def judge_stream(facts: StreamFacts) -> Finding:
    """Judge whether a stream arrives line by line. Only the stream of an unfinished run stays open long enough."""
    if facts.run is None:
        return skipped(
            "cannot be told while no run is unfinished: the stream of a finished run ends at once",
            "Run dagcall doctor again while a dag runs",
        )
    dag_id, run_id = facts.run
    if facts.is_over:
        return skipped(f"cannot be told: run {run_id} of dag {dag_id} ended meanwhile", "Run dagcall doctor again")
    if facts.seconds is None:
        return warning(
            f"nothing came of the stream of run {run_id} of dag {dag_id} within {duration(facts.waited)}: something in "
            "front of Airflow holds it back, so dagcall polls, and answers come later",
            "Switch buffering off in the proxy in front of Airflow (nginx: proxy_buffering off)",
        )
    return ok(f"the first state of an unfinished run came after {duration(facts.seconds)}")


@dataclass(frozen=True, slots=True)
class LoadFacts:
    """How long reads take: how many at once -> the seconds of each."""

    rounds: Mapping[int, list[float]]
    min_in_flight: int


def judge_load(facts: LoadFacts) -> Finding:
    """Judge how many requests Airflow answers at once without delay."""
    medians = {at_once: median(seconds) for at_once, seconds in facts.rounds.items()}
    (_, calm), *others = medians.items()
    prompt = max([at_once for at_once, seconds in medians.items() if seconds <= LATE * calm + SLACK_SECONDS])
    found = f"one read {duration(calm)}" + "".join(f", {n} at once {duration(s)}" for n, s in others)
    if calm > SLOW_SECONDS:
        return warning(
            f"{found}: Airflow, or the way to it, is slow",
            "Look at the load of Airflow's api-server and its database; more [api] workers or api-servers help",
        )
    if facts.min_in_flight > max(medians):
        return ok(found)
    if facts.min_in_flight > prompt:
        return warning(
            f"{found}; min_in_flight is {facts.min_in_flight}, but only {prompt} at once are answered without delay",
            "Lower airflow.min_in_flight, or add workers ([api] workers) or api-servers to Airflow",
        )
    return ok(found)
