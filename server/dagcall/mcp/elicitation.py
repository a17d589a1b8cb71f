"""Asks the person behind a call the questions of its run, through the mechanism of the client's revision.

* 2026-07-28: the call's result says which input is required; the client asks its user and calls again with the answers
  and our `requestState`, which names the run. dagcall keeps no state meanwhile, so any replica can continue.
* Handshake revisions: a request to the client (`elicitation/create`) during the call, if the connection can carry it:
  stdio can, stateless HTTP cannot.
* A client that cannot ask gets the questions in the answer, with the link at which a person answers.

Only a person can answer: if they decline, close the form or do not answer in time, the question stays open.
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
"""How long a person may take before the client's state expires."""
LOOK_SECONDS = 5.0
"""How often to check, while a person is asked, whether the question was answered elsewhere."""
MAX_TRIES = 5
"""How often a question is asked again because its answer was invalid."""

DECLINED = "Your user declined to answer; no answer was sent to Airflow."
CLOSED = "Your user closed the question without an answer; no answer was sent to Airflow."
UNFIT = "The answers given here are invalid for the question."

Contents = dict[str, Mapping[str, Json]]
"""Question key -> the filled-in form."""


def can_ask(session: ServerSession) -> bool:
    """Return whether the client can show its user a form. A bare `elicitation: {}` means forms."""
    capabilities = session.client_capabilities
    elicitation = capabilities.elicitation if capabilities else None
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):
        return False
    return _asks_by_result(session) or session.can_send_request


def input_requests(
    questions: tuple[Question, ...], problems: Mapping[str, tuple[str, ...]] | None = None, *, revision: str
) -> dict[str, ElicitRequest]:
    """Return the questions as requests to the client, by key, without those that only Airflow can ask.

    Args:
        questions: the open questions.
        revision: the protocol revision, which decides what a form may contain.
        problems: question key -> why its last answer was refused.
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
    """Return the completed forms, and a sentence about a form that was not completed.

    Args:
        responses: question key -> the client's response.
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
    """Return whether the person declined to answer."""
    return isinstance(response, ElicitResult) and response.action == "decline"


def is_closed(response: object) -> bool:
    """Return whether the person closed the form, or the client sent an invalid response."""
    return not isinstance(response, ElicitResult) or response.action == "cancel"


async def answerable(
    runs: Runs, questions: tuple[Question, ...], account: Callable[[], Account | None]
) -> tuple[Question, ...]:
    """Return the questions that Airflow lets this account answer, so that no person is asked in vain.

    Args:
        runs: knows which account may answer what.
        questions: the open questions.
        account: returns the account that answers.
    """
    try:
        return await runs.answerable(questions, account())
    except TriggerRefused:  # no account acts for this caller
        return ()


def not_taken_from(account: Account | None) -> str:
    """Return the sentence for an answer that Airflow refuses from this account; None: dagcall's own."""
    whose = "dagcall's account" if account is None else f"its account {account.name!r}, which answers for you here"
    return f"Airflow does not accept the answer from {whose}."


class Elicitor:
    """Asks the person behind one call.

    Args:
        session: the call's connection.
        request_id: the call's id; questions use its stream.
        runs: takes the answers.
        tool: the call's tool.
        caller: whose runs may be answered.
        account: returns the account that answers.
        who: the note about who answered.
        seconds_left: how long the call may still take.
        on_stage: called with the current stage.
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
        """Why no more questions are asked; a sentence."""

    async def adopt(self, params: CallToolRequestParams) -> str | None:
        """Send the answers that a repeated call carries; return its run's id, or None for a first call.

        Raises:
            UnknownRun: the run no longer exists.
            AirflowError: Airflow gave no usable answer.
        """
        if params.request_state is None:
            return None
        run_id = str(json.loads(params.request_state)["run"])  # sealed, so written by dagcall
        await self._deliver(run_id, params.input_responses or {})
        return run_id

    async def conclude(
        self, answer: Answer, resume: Callable[[str], Awaitable[Answer]]
    ) -> Answer | InputRequiredResult:
        """Ask while there are questions that can be asked; return the answer, or the questions for the client.

        Args:
            answer: the call's outcome so far.
            resume: waits again for the run with this id.
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
                self._notice = "Your user was asked, but did not answer within this call's time limit."
            elif await self._deliver(answer.run_id, responses) or not self._notice:
                answer = await resume(answer.run_id)
        return replace(answer, notice=self._notice) if answer.questions else answer

    async def _deliver(self, run_id: str, responses: Mapping[str, object]) -> bool:
        """Send the answers; return whether Airflow accepted any."""
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
        """Ask one question after the other; leave out those answered elsewhere meanwhile."""
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
        """Return the person's response; None if someone answered elsewhere meanwhile, or if the time is over."""
        asking = asyncio.create_task(self._elicit(request), name=f"ask about {run_id}")
        try:
            while not asking.done() and (left := self._seconds_left()) > 0:
                await asyncio.wait({asking}, timeout=min(LOOK_SECONDS, left))
                if not asking.done() and not await self._runs.is_open(self._tool, run_id, key):
                    break
            return asking.result() if asking.done() else None
        finally:
            asking.cancel()  # tells the client to close the form
            await asyncio.gather(asking, return_exceptions=True)

    async def _elicit(self, request: ElicitRequest) -> ElicitResult:
        form = request.params
        assert isinstance(form, ElicitRequestFormParams)  # noqa: S101 - `input_requests` creates only forms
        try:
            return await self._session.elicit_form(form.message, form.requested_schema, self._request_id)
        except (MCPError, ValidationError) as error:
            logger.info("the client failed to ask its user: %s", error)
            return ElicitResult(action="cancel")


def _asks_by_result(session: ServerSession) -> bool:
    return session.protocol_version in MODERN_PROTOCOL_VERSIONS
