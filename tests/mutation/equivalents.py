"""Mutants that do the same as the code, so that no test can see them. Each has a reason; they are not counted.

One that a test does see after all fails the run: then its reason is wrong.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Equivalent:
    """Mutants of one function that change nothing but these lines in this way."""

    where: str
    before: str
    after: str
    because: str


ANYWHERE = (
    ('"utf-8"', '"UTF-8"', "Names of encodings have no case."),
    ('"inf"', '"INF"', "float reads it in any case."),
    ("ensure_ascii=False", "ensure_ascii=None", "json.dumps takes None for False."),
)
"""What may be changed into what in any line, and why that changes nothing."""

EQUIVALENTS = (
    Equivalent(
        "naming._changed",
        "if not readable[:1].isalpha():",
        "if not readable[:2].isalpha():",
        "Where the first character is a letter, there is nothing to strip.",
    ),
    Equivalent(
        "questions.Question.from_json",
        "url=f\"{ui_url}/{'/'.join(quote(part, safe='') for part in parts)}/required_actions\",",
        "url=f\"{ui_url}/{'/'.join(quote(part, safe='XXXX') for part in parts)}/required_actions\",",
        "An X is never quoted.",
    ),
    Equivalent(
        "questions.response_from_content",
        "conf = form.inputs.conf_from_arguments(arguments, tool=question.name)",
        "conf = form.inputs.conf_from_arguments(arguments, tool=None)",
        "Of the error that names the tool, only the problems are used.",
    ),
    Equivalent(
        "questions._named",
        'return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)',
        'return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 2 else shown)',
        "Two names read the same either way.",
    ),
    Equivalent(
        "airflow_clock.AirflowClock.__init__",
        'self._date = ""',
        "self._date = None",
        "Both are no date that an answer has.",
    ),
    Equivalent(
        "airflow_clock.AirflowClock.__init__",
        'self._date = ""',
        'self._date = "XXXX"',
        "Both are no date that an answer has.",
    ),
    Equivalent(
        "airflow_clock.AirflowClock.__init__",
        "self._heard_at = 0.0",
        "self._heard_at = 1.0",
        "It counts only once an answer has been heard, which sets it.",
    ),
)


def reason(where: str, before: str, after: str) -> str | None:
    """Return why a mutant does the same as the code; None if that is not said."""
    for text, changed, because in ANYWHERE:
        if text in before and before.replace(text, changed) == after:
            return because
    found = (one.because for one in EQUIVALENTS if (one.where, one.before, one.after) == (where, before, after))
    return next(found, None)
