"""What can go wrong, sorted by who can mend it.

    DagcallError
    ├─ CallerError             the agent can mend its call; nothing was started
    │  ├─ UnknownTool            -> JSON-RPC invalid params
    │  ├─ InvalidArguments       -> tool error naming every bad argument
    │  ├─ UnknownRun             -> tool error: no such run, or not the caller's
    │  ├─ Unreadable             -> tool error: the run has no results to read, or none at this path
    │  ├─ IdempotencyConflict    -> tool error: this key was used for other arguments
    │  ├─ Busy                   -> tool error: when to come back
    │  │  └─ RateLimited              this caller has started as much as it may
    │  └─ TriggerRefused         -> tool error: Airflow's own reason (400, 422), or the dag cannot run now
    ├─ RunError                what became of the dag run cannot be told
    │  ├─ RunDeleted             -> tool error: somebody deleted the run
    │  └─ OutcomeUnknown          -> tool error: the run exists, but Airflow does not show what became of it
    ├─ AirflowError            Airflow did not answer as needed
    │  ├─ AirflowUnreachable     -> tool error: calling again may help
    │  │  └─ CircuitOpen           the breaker is open: nothing was even sent
    │  ├─ AirflowRefused         -> tool error: the operator must mend permissions (403)
    │  │  └─ AirflowLogInRefused      likewise credentials (401, or a token that is none)
    │  ├─ AirflowNotFound        404, turned into something better by whoever asked
    │  ├─ AirflowConflict        409, likewise
    │  ├─ AirflowRejected        400 and 422, likewise
    │  └─ AirflowAnswerUnusable  -> tool error: not an Airflow 3.1+, or not Airflow at all
    │     └─ AirflowAnswerTooLarge  the operator may raise airflow.max_answer_bytes
    ├─ IssuerAway              whoever vouches for callers did not answer as needed -> 503, before any message is read
    └─ OperatorError           found before serving; never reaches an agent
       ├─ ConfigError            -> one sentence on stderr, exit code 2
       └─ ToolUnpublishable      -> this dag is left out, with the reason; the others go on

Every message is a sentence that can be shown as it is: what happened, to which dag and run, what to do next.
None holds a token, a password or Airflow's HTML.
"""

from typing import Self


class DagcallError(Exception):
    """Something dagcall foresaw.

    Attributes:
        dag_id: the dag that it is about; None where it is about none, or about any.
        run_id: likewise the run.
    """

    dag_id: str | None = None
    run_id: str | None = None

    def about(self, dag_id: str, run_id: str) -> Self:
        """Return the error, which is about this run."""
        self.dag_id, self.run_id = dag_id, run_id
        return self


class CallerError(DagcallError):
    """The call cannot be made as it is; nothing was started."""


class UnknownTool(CallerError):
    """No tool of this name is published."""


class InvalidArguments(CallerError):
    """The arguments do not fit the tool's input schema.

    Attributes:
        problems: one sentence per bad argument, e.g. `("max_sentences: 0 is less than the minimum of 1",)`.
    """

    def __init__(self, tool: str, problems: tuple[str, ...]) -> None:
        self.problems = problems
        lines = "".join(f"\n- {problem}" for problem in problems)
        super().__init__(f"Nothing was started: the arguments of {tool} need mending.{lines}")


class UnknownRun(CallerError):
    """There is no such run for this caller."""


class Unreadable(CallerError):
    """The run has no results to read, or none where the caller looked."""


class IdempotencyConflict(CallerError):
    """The idempotency key belongs to a run with other arguments; nothing was started."""


class Busy(CallerError):
    """Too many calls are in line; nothing was started."""


class RateLimited(Busy):
    """The caller has started as many runs as it may; nothing was started."""


class TriggerRefused(CallerError):
    """The dag cannot be run now; nothing was started."""


class RunError(DagcallError):
    """What became of the dag run cannot be told; that it failed is an answer, with a report."""


class RunDeleted(RunError):
    """The dag run was deleted in Airflow while it was waited for."""


class OutcomeUnknown(RunError):
    """The dag run was started, but Airflow does not show what became of it."""


class AirflowError(DagcallError):
    """Airflow did not answer as needed."""


class AirflowUnreachable(AirflowError):
    """No answer, or an answer that says "later" (429, 5xx).

    Attributes:
        is_effect_possible: whether the request may have reached Airflow and taken effect.
        retry_after_seconds: when Airflow wants to be asked again; None if it did not say.
        is_late: whether nothing at all came in time.
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
    """Airflow has not answered for a while, and this request was not sent."""


class AirflowRefused(AirflowError):
    """Airflow does not accept the credentials, or the account may not do this (401, 403)."""


class AirflowLogInRefused(AirflowRefused):
    """Airflow does not accept the credentials, whatever the account may do."""


class AirflowNotFound(AirflowError):
    """Airflow has no such thing (404)."""


class AirflowConflict(AirflowError):
    """Something like it exists already (409)."""


class AirflowRejected(AirflowError):
    """Airflow found fault with the request (400, 422).

    Attributes:
        reason: the first line of Airflow's own reason, e.g. `Invalid input for param n: 0 is less
            than the minimum of 1`.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        self.reason = reason
        super().__init__(message)


class AirflowAnswerUnusable(AirflowError):
    """What answered is not an Airflow that dagcall can work with."""


class IssuerAway(DagcallError):
    """The authorization server did not answer as needed, so that nobody can say whose a token is."""


class AirflowAnswerTooLarge(AirflowAnswerUnusable):
    """The answer is larger than dagcall reads."""


class OperatorError(DagcallError):
    """The operator has to change something before dagcall can serve."""


class ConfigError(OperatorError):
    """The configuration has a mistake."""


class ToolUnpublishable(OperatorError):
    """The dag cannot be published as a tool as it is, or as it is configured."""
