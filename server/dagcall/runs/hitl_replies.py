"""Sends people's answers to Airflow.

Airflow stores one answer per question and rejects a second one, so sending a reply twice, or after another person's,
does no harm. Airflow records dagcall's account as the one who answered; the run's note names the client that sent the
answer.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dagcall.airflow import Account, AirflowApi, Question, Response, Run, retry
from dagcall.errors import (
    AirflowConflict,
    AirflowError,
    AirflowNotFound,
    AirflowRefused,
    AirflowRejected,
    InvalidArguments,
)
from dagcall.plain_json import Json
from dagcall.runs.delivery_marks import MARK, MAX_NOTE
from dagcall.runs.hitl_forms import form_of, response_from_content

logger = logging.getLogger(__name__)

ATTEMPTS = 4
SETTLE_SECONDS = 5.0
"""The minimum age of a question before it is answered. Airflow's scheduler learns late that the asking task has left
its worker. If the answer arrives within a second or two, the scheduler takes the resumed task for a killed one and
fails it (measured on 3.3.2; https://github.com/apache/airflow/issues/67287 and 72716). People are slower, programs are
not."""


@dataclass(slots=True)
class TakenReplies:
    """The outcome of replies to a run's questions."""

    taken: list[Question] = field(default_factory=list)
    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Question key -> why the reply is invalid; one sentence for each invalid value."""
    refused: list[Question] = field(default_factory=list)
    """Questions that the account may not answer."""


class HitlReplies:
    """Sends replies.

    Args:
        api: Airflow.
        wall_clock: the time in UTC, approximately Airflow's.
    """

    def __init__(self, api: AirflowApi, *, wall_clock: Callable[[], datetime]) -> None:
        self._api = api
        self._wall_clock = wall_clock

    async def answerable(self, questions: tuple[Question, ...], account: Account | None) -> tuple[Question, ...]:
        """Return the questions that this account may answer: without assigned users, or assigned to it.

        If the account's user id is unknown, return all questions; Airflow then rejects what it does not accept.
        """
        if not any(question.assigned_ids for question in questions):
            return questions
        try:
            user_id = await self._api.user_id(account)
        except AirflowError:
            return questions
        if user_id is None:
            return questions
        return tuple(one for one in questions if not one.assigned_ids or user_id in one.assigned_ids)

    async def deliver(
        self, run: Run, contents: Mapping[str, Mapping[str, Json]], *, who: str, account: Account | None = None
    ) -> TakenReplies:
        """Answer the questions of a run that are still open.

        Args:
            run: as just read from Airflow.
            contents: question key -> the filled-in form.
            who: the client that sent the answers.
            account: the Airflow account that answers; None: dagcall's own.

        Raises:
            AirflowUnreachable: it is not known whether Airflow has a reply.
        """
        delivery = TakenReplies()
        questions = await self._api.fetch_questions([(run.dag_id, run.run_id)]) if contents else ()
        for question in questions:
            if question.key in contents:
                await self._answer(question, contents[question.key], delivery, account)
        if delivery.taken:
            await self._record(run, delivery.taken, who)
        return delivery

    async def _answer(
        self, question: Question, content: Mapping[str, Json], delivery: TakenReplies, account: Account | None
    ) -> None:
        form = form_of(question)
        if form is None:
            return
        try:
            await self._send(question, response_from_content(question, form, content), account)
        except InvalidArguments as error:
            delivery.problems[question.key] = error.problems
        except AirflowRejected as error:
            delivery.problems[question.key] = (error.reason,)
        except AirflowRefused as error:
            name = "dagcall" if account is None else f"account {account.name}"
            logger.warning("%s may not answer task %s of dag %s: %s", name, question.name, question.dag_id, error)
            delivery.refused.append(question)
        except (AirflowConflict, AirflowNotFound) as error:
            logger.info("task %s of run %s no longer waits for an answer: %s", question.name, question.run_id, error)
        else:
            delivery.taken.append(question)

    async def _send(self, question: Question, response: Response, account: Account | None) -> None:
        age = (self._wall_clock() - question.asked_at).total_seconds()
        await asyncio.sleep(min(SETTLE_SECONDS - age, SETTLE_SECONDS))
        await retry(
            lambda: self._api.respond(question, response, account=account),
            may_retry=self._api.rest.may_retry,
            attempts=ATTEMPTS,
        )

    async def _record(self, run: Run, taken: list[Question], who: str) -> None:
        names = ", ".join(question.name for question in taken)
        logger.info("task %s of run %s of dag %s was answered through MCP by %s", names, run.run_id, run.dag_id, who)
        await self.add_to_note(run, f"Answered through MCP by {who}: {names}.")

    async def add_to_note(self, run: Run, *words: str) -> bool:
        """Add the first of these texts that fits to a run's note; return whether one was added.

        The note is read first, because people write there, too; their text stays as it is.
        """
        try:
            note = (await self._api.fetch_run(run.dag_id, run.run_id)).note
            for text in words:
                longer = f"{note} {text}".lstrip()
                if len(longer) < MAX_NOTE - len(MARK):  # the delivery mark must still fit
                    await self._api.set_note(run.dag_id, run.run_id, longer)
                    return True
        except AirflowError as error:
            logger.warning(
                "could not add %r to the note of run %s of dag %s: %s", words[0], run.run_id, run.dag_id, error
            )
            return False
        logger.info("no room to add %r to the note of run %s of dag %s", words[0], run.run_id, run.dag_id)
        return False
