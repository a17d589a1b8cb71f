"""What can go wrong, sorted by who can fix it.

    DagcallError
    ├─ CallerError             the agent can fix its call; nothing was started
    │  ├─ UnknownTool            -> JSON-RPC invalid params
    │  ├─ InvalidArguments       -> tool error naming every bad argument
    │  ├─ UnknownRun             -> tool error: no such run, or not the caller's
    │  ├─ Unreadable             -> tool error: the run has no results to read, or none at this path
    │  ├─ IdempotencyConflict    -> tool error: this key was used for other arguments
    │  ├─ RetryLater             -> tool error: when to retry
    │  │  ├─ QueueFull             too many calls wait for Airflow
    │  │  ├─ RateLimited           this caller has reached its quota
    │  │  ├─ StartingUp            the dags have not been read yet
    │  │  └─ ShuttingDown          dagcall is being stopped
    │  └─ TriggerRefused         -> tool error: Airflow's own reason (400, 422), or the dag cannot run now
    ├─ RunError                the outcome of the dag run is unknown
    │  ├─ RunDeleted             -> tool error: the run was deleted
    │  └─ OutcomeUnknown         -> tool error: the run exists, but Airflow does not return its outcome
    ├─ AirflowError            Airflow did not answer, or not usefully
    │  ├─ AirflowUnreachable     -> tool error: calling again may help
    │  │  └─ CircuitOpen           the breaker is open: nothing was sent
    │  ├─ AirflowRefused         -> tool error: the operator must fix permissions (403)
    │  │  └─ AirflowLogInRefused      the operator must fix credentials (401, or an invalid token)
    │  ├─ AirflowNotFound        404, turned into a more specific error by the caller
    │  ├─ AirflowConflict        409, likewise
    │  ├─ AirflowRejected        400 and 422, likewise
    │  └─ AirflowAnswerUnusable  -> tool error: not an Airflow 3.1+, or not Airflow at all
    │     └─ AirflowAnswerTooLarge  the operator may raise airflow.max_answer_bytes
    ├─ IssuerAway              the authorization server gave no usable answer -> 503, before any message is read
    └─ OperatorError           found before serving; never reaches an agent
       ├─ ConfigError            -> one sentence on stderr, exit code 2
       └─ ToolUnpublishable      -> this dag is withheld, with the reason; the others stay published

Every message can be shown as it is: what happened, to which dag and run, what to do next. No message contains a token,
a password or Airflow's HTML.
"""

from typing import Self


class DagcallError(Exception):
    """An expected error.

    Attributes:
        dag_id: the dag concerned, if there is one.
        run_id: the run concerned, if there is one.
    """

    dag_id: str | None = None
    run_id: str | None = None

    def about(self, dag_id: str, run_id: str) -> Self:
        """Set the run that the error is about, and return the error."""
        self.dag_id, self.run_id = dag_id, run_id
        return self


class CallerError(DagcallError):
    """The call is invalid; nothing was started."""


class UnknownTool(CallerError):
    """No tool of this name is published."""


class InvalidArguments(CallerError):
    """The arguments do not match the tool's input schema.

    Attributes:
        problems: one sentence per bad argument, e.g. `("max_sentences: 0 is less than the minimum of 1",)`.
    """

    def __init__(self, tool: str, problems: tuple[str, ...]) -> None:
        self.problems = problems
        lines = "".join(f"\n- {problem}" for problem in problems)
        super().__init__(f"Nothing was started: invalid arguments for {tool}.{lines}")


class UnknownRun(CallerError):
    """There is no such run for this caller."""


class Unreadable(CallerError):
    """The run has no results to read, or none at the given path."""


class IdempotencyConflict(CallerError):
    """The idempotency key belongs to a run with other arguments; nothing was started."""


class RetryLater(CallerError):
    """Nothing was started, and the same call may succeed later."""


class QueueFull(RetryLater):
    """Too many calls wait for a place before Airflow."""


class RateLimited(RetryLater):
    """The caller has reached its quota of runs."""


class StartingUp(RetryLater):
    """The dags have not been read yet."""


class ShuttingDown(RetryLater):
    """dagcall is being stopped."""


class TriggerRefused(CallerError):
    """The dag cannot run now; nothing was started."""


class RunError(DagcallError):
    """The outcome of the dag run is unknown. A failed run is no such error, but an answer with a report."""


class RunDeleted(RunError):
    """The dag run was deleted in Airflow while a call waited for it."""


class OutcomeUnknown(RunError):
    """The dag run was started, but Airflow does not return its outcome."""


class AirflowError(DagcallError):
    """Airflow did not answer, or not usefully."""


class AirflowUnreachable(AirflowError):
    """No answer, or an answer that says "later" (429, 5xx).

    Attributes:
        is_effect_possible: whether the request may have reached Airflow and taken effect.
        retry_after_seconds: when Airflow asked for a retry; None if it did not.
        is_late: whether the request timed out.
    """

    def __init__(
        self,
        message: str,
        *,
        is_effect_possible: bool,
        retry_after_seconds: float | None = None,
        is_late: bool = False,
    ) -> None:
        self.is_effect_possible = is_effect_possible
        self.retry_after_seconds = retry_after_seconds
        self.is_late = is_late
        super().__init__(message)


class CircuitOpen(AirflowUnreachable):
    """Airflow has not answered for some time, and this request was not sent."""


class AirflowRefused(AirflowError):
    """Airflow rejects the credentials, or the account may not do this (401, 403)."""


class AirflowLogInRefused(AirflowRefused):
    """Airflow rejects the credentials."""


class AirflowNotFound(AirflowError):
    """Airflow has no such thing (404)."""


class AirflowConflict(AirflowError):
    """The thing already exists (409)."""


class AirflowRejected(AirflowError):
    """Airflow rejected the request as invalid (400, 422).

    Attributes:
        reason: the first line of Airflow's own reason, e.g. `Invalid input for param n: 0 is less than the minimum
            of 1`.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        self.reason = reason
        super().__init__(message)


class AirflowAnswerUnusable(AirflowError):
    """The server that answered is not an Airflow that dagcall supports."""


class IssuerAway(DagcallError):
    """The authorization server gave no usable answer, so a token cannot be verified."""


class AirflowAnswerTooLarge(AirflowAnswerUnusable):
    """The answer is larger than dagcall reads."""


class OperatorError(DagcallError):
    """The operator must change something before dagcall can serve."""


class ConfigError(OperatorError):
    """The configuration is invalid."""


class ToolUnpublishable(OperatorError):
    """The dag, or its configuration, cannot be published as a tool."""
