"""Asks the person behind a call what its run wants to know, in the way that the client's revision has for it.

* 2026-07-28: the call's result says that input is required, and what; the client asks its user and calls again with
  the answers and with our `requestState`, which names the run. Nothing is kept here meanwhile, so any replica goes on.
* Handshake revisions: a request to the client (`elicitation/create`) while the call goes on, where the connection can
  carry one: stdio can, stateless HTTP cannot.
* A client that cannot ask gets the questions as part of the answer, with the link at which a person answers.

Nobody but a person answers: who declines, closes the form or does not come in time leaves the question open.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from mcp import MCPError
from mcp.server.session import ServerSession
from mcp_types import (
    CallToolRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    RequestId,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from dagcall.airflow import Account, Question
from dagcall.errors import TriggerRefused
from dagcall.plain_json import Json
from dagcall.runs import MAX_QUESTIONS, Answer, Runs, form_of, message_of
from dagcall.tools import Tool

logger = logging.getLogger(__name__)

STATE_SECONDS = 7 * 86_400.0
"""How long a person may take to answer before the client's call no longer knows its run."""
LOOK_SECONDS = 5.0
"""How often it is checked, while a person is asked, whether the question has been answered elsewhere."""
MAX_TRIES = 5
"""How often a question is asked again for its answer did not fit."""

DECLINED = "Your user declined to answer here; nothing was sent to Airflow for it."
CLOSED = "Your user closed the question without an answer; nothing was sent to Airflow for it."
UNFIT = "The answers that were given here do not fit the question."

Contents = dict[str, Mapping[str, Json]]
"""Question key -> the filled-in form."""


def can_ask(session: ServerSession) -> bool:
    """Say whether the client can ask its user with a form. A bare `elicitation: {}` means forms."""
    capabilities = session.client_capabilities
    elicitation = capabilities.elicitation if capabilities else None
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):
        return False
    return _asks_by_result(session) or session.can_send_request


def input_requests(
    questions: tuple[Question, ...], problems: Mapping[str, tuple[str, ...]] | None = None, *, revision: str
) -> dict[str, ElicitRequest]:
    """Return the questions as a client is asked them, by key, without those that only Airflow can ask.

    Args:
        questions: those that are open.
        revision: of the protocol, on which depends what a form may hold.
        problems: question key -> why its last answer was not taken.
    """
    requests: dict[str, ElicitRequest] = {}
    for question in questions:
        form = form_of(question)
        if form is None:
            continue
        message = message_of(question, problems=(problems or {}).get(question.key, ()))
        requests[question.key] = ElicitRequest(
            params=ElicitRequestFormParams(message=message, requested_schema=form.schema(revision))
        )
    return requests


def accepted(responses: Mapping[str, object]) -> tuple[Contents, str]:
    """Return the forms that were filled in, and, where one was not, a sentence that says so.

    Args:
        responses: question key -> what the client answered.
    """
    contents: Contents = {}
    notice = ""
    for key, response in responses.items():
        if is_closed(response):
            notice = notice or CLOSED
        elif is_declined(response):
            notice = DECLINED
        elif isinstance(response, ElicitResult):
            contents[key] = response.content or {}
    return contents, notice


def is_declined(response: object) -> bool:
    """Say whether a person does not want to answer."""
    return isinstance(response, ElicitResult) and response.action == "decline"


def is_closed(response: object) -> bool:
    """Say whether a person closed the form, or a client sent something that is no answer."""
    return not isinstance(response, ElicitResult) or response.action == "cancel"


async def answerable(
    runs: Runs, questions: tuple[Question, ...], account: Callable[[], Account | None]
) -> tuple[Question, ...]:
    """Return those questions whose answers Airflow takes from here: nobody is asked in vain.

    Args:
        runs: know what Airflow takes from whom.
        questions: those that are open.
        account: returns in whose name they are answered.
    """
    try:
        return await runs.answerable(questions, account())
    except TriggerRefused:  # no account acts for this caller
        return ()


def not_taken_from(account: Account | None) -> str:
    """Return the sentence for an answer that Airflow does not let this account give; None: dagcall's own."""
    whose = "dagcall's account" if account is None else f"its account {account.name!r}, which answers for you here"
    return f"Airflow does not take the answer from {whose}."


class Elicitor:
    """One call's talk with the person behind it.

    Args:
        session: the call's connection.
        request_id: the call's id, on whose stream a question travels.
        runs: takes the answers.
        tool: the call's tool.
        caller: whose runs may be answered.
        account: returns in whose name they are answered.
        who: what is noted about who answered.
        seconds_left: how long the call may still take.
        on_stage: told what is going on.
    """

    def __init__(
        self,
        session: ServerSession,
        request_id: RequestId | None,
        *,
        runs: Runs,
        tool: Tool,
        caller: str,
        account: Callable[[], Account | None],
        who: str,
        seconds_left: Callable[[], float],
        on_stage: Callable[[str], None],
    ) -> None:
        self._session = session
        self._request_id = request_id
        self._runs = runs
        self._tool = tool
        self._caller = caller
        self._account = account
        self._who = who
        self._seconds_left = seconds_left
        self._on_stage = on_stage
        self._problems: dict[str, tuple[str, ...]] = {}
        self._notice = ""
        """Why nobody is asked any more; a sentence."""

    async def adopt(self, params: CallToolRequestParams) -> str | None:
        """Deliver what comes with a call that was made again; return its run's id, None for a first call.

        Raises:
            UnknownRun: the run is gone.
            AirflowError: Airflow did not answer as needed.
        """
        if params.request_state is None:
            return None
        run_id = str(json.loads(params.request_state)["run"])  # sealed: nobody else has written it
        await self._deliver(run_id, params.input_responses or {})
        return run_id

    async def conclude(
        self, answer: Answer, resume: Callable[[str], Awaitable[Answer]]
    ) -> Answer | InputRequiredResult:
        """Ask as long as there is something to ask, and somebody to; return the answer, or the question to the client.

        Args:
            answer: what the call came to so far.
            resume: waits again for the run of this id.
        """
        tries = 0
        while answer.questions and not self._notice and can_ask(self._session):
            questions = await answerable(self._runs, answer.questions, self._account)
            requests = input_requests(
                questions[:MAX_QUESTIONS], self._problems, revision=self._session.protocol_version
            )
            if not requests:
                break
            if _asks_by_result(self._session):
                return InputRequiredResult(
                    input_requests=dict(requests), request_state=json.dumps({"run": answer.run_id})
                )
            if (tries := tries + 1) > MAX_TRIES:
                self._notice = UNFIT
                break
            responses = await self._elicited(answer, requests)
            if not responses and self._seconds_left() <= 0:
                self._notice = "Your user was asked here and has not answered within the time that this call has."
            elif await self._deliver(answer.run_id, responses) or not self._notice:
                answer = await resume(answer.run_id)
        return replace(answer, notice=self._notice) if answer.questions else answer

    async def _deliver(self, run_id: str, responses: Mapping[str, object]) -> bool:
        """Send what was answered; say whether Airflow took any of it."""
        contents, self._notice = accepted(responses)
        account = self._account()
        delivery = await self._runs.respond(
            self._tool, run_id, caller=self._caller, contents=contents, who=self._who, account=account
        )
        self._problems = delivery.problems
        if delivery.refused:
            self._notice = not_taken_from(account)
        return bool(delivery.taken)

    # Handshake revisions

    async def _elicited(self, answer: Answer, requests: Mapping[str, ElicitRequest]) -> dict[str, object]:
        """Ask one question after the other; those that were answered elsewhere meanwhile are missing."""
        self._on_stage("waiting for a person to answer")
        responses: dict[str, object] = {}
        with self._runs.attended(self._tool, answer.run_id):
            for key, request in requests.items():
                response = await self._elicited_while_open(answer.run_id, key, request)
                if response is not None:
                    responses[key] = response
                if self._seconds_left() <= 0 or (response is not None and response.action != "accept"):
                    break
        return responses

    async def _elicited_while_open(self, run_id: str, key: str, request: ElicitRequest) -> ElicitResult | None:
        """Return what the person answered; None where somebody else did meanwhile, or where the time is over."""
        asking = asyncio.create_task(self._elicit(request), name=f"ask about {run_id}")
        try:
            while not asking.done() and (left := self._seconds_left()) > 0:
                await asyncio.wait({asking}, timeout=min(LOOK_SECONDS, left))
                if not asking.done() and not await self._runs.is_open(self._tool, run_id, key):
                    break
            return asking.result() if asking.done() else None
        finally:
            asking.cancel()  # which tells the client to close the form
            await asyncio.gather(asking, return_exceptions=True)

    async def _elicit(self, request: ElicitRequest) -> ElicitResult:
        form = request.params
        assert isinstance(form, ElicitRequestFormParams)  # noqa: S101 - `input_requests` makes no other
        try:
            return await self._session.elicit_form(form.message, form.requested_schema, self._request_id)
        except (MCPError, ValidationError) as error:
            logger.info("a client could not ask its user: %s", error)
            return ElicitResult(action="cancel")


def _asks_by_result(session: ServerSession) -> bool:
    return session.protocol_version in MODERN_PROTOCOL_VERSIONS
