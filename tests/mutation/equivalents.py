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
    ('"utf-8-sig"', '"UTF-8-SIG"', "Names of encodings have no case."),
    ("'utf-8'", "'UTF-8'", "Names of encodings have no case."),
    ('"utf-16-le"', '"UTF-16-LE"', "Names of encodings have no case."),
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
    Equivalent(
        "results._iso_datetime",
        'moment = datetime.fromtimestamp(stored["timestamp"], UTC)',
        'moment = datetime.fromtimestamp(stored["timestamp"], None)',
        "A time without a zone is then taken for local, which it is.",
    ),
    Equivalent(
        "results._iso_datetime",
        'moment = datetime.fromtimestamp(stored["timestamp"], UTC)',
        'moment = datetime.fromtimestamp(stored["timestamp"], )',
        "A time without a zone is then taken for local, which it is.",
    ),
    Equivalent(
        "excerpts._fitting_entries",
        "shown = preview(item, path=_below(path, name), max_bytes=max_bytes // PREVIEW_SHARE)",
        "shown = preview(item, path=_below(path, name), max_bytes=max_bytes / PREVIEW_SHARE)",
        "The bound is only compared with whole numbers.",
    ),
    Equivalent(
        "excerpts._nearest",
        "names = [known for known in islice(parent, _MANY_NAMES) if len(known) <= LONGEST_NAME]",
        "names = [known for known in islice(parent, None) if len(known) <= LONGEST_NAME]",
        "It bounds the work: of more names only the first are shown, if these are not too long.",
    ),
    Equivalent(
        "failures._failed",
        "return sorted(failed, key=lambda one: (one.end_date is None, one.end_date or 0, one.task_id, one.map_index))",
        "return sorted(failed, key=lambda one: (one.end_date is None, one.end_date or 1, one.task_id, one.map_index))",
        "It is only compared with itself.",
    ),
    Equivalent(
        "failures._groups",
        "Group(reason, tuple(same), logs.get((task_id, same[0].map_index), TaskLog()))",
        "Group(reason, tuple(same), logs.get((task_id, same[0].map_index), None))",
        "Where there is no log, none is shown: the reason is None.",
    ),
    Equivalent(
        "failures._groups",
        "Group(reason, tuple(same), logs.get((task_id, same[0].map_index), TaskLog()))",
        "Group(reason, tuple(same), logs.get((task_id, same[0].map_index), ))",
        "Where there is no log, none is shown: the reason is None.",
    ),
    Equivalent(
        "failures._exception_reason",
        'where=next((spot for exception in exceptions if (spot := _where(exception.frames))), ""),',
        "where=next((spot for exception in exceptions if (spot := _where(exception.frames))), None),",
        "It is only asked whether there is one.",
    ),
    Equivalent(
        "failures._group_lines",
        "if shown := last_lines(group.log.events, log_lines, MAX_LOG_CHARACTERS // share, masker):",
        "if shown := last_lines(group.log.events, log_lines, MAX_LOG_CHARACTERS / share, masker):",
        "The bound is only compared with whole numbers.",
    ),
    Equivalent(
        "failures._group_lines",
        'lines.append(f"  It began with {shortened(reason.began_with, MAX_LINE_CHARACTERS)}".replace("\\n", "\\n  "))',
        'lines.append(f"  It began with {shortened(reason.began_with, )}".replace("\\n", "\\n  "))',
        "The bound is the default of `shortened`, too.",
    ),
    Equivalent(
        "failures._subject",
        "task_id = group.instances[0].task_id",
        "task_id = group.instances[1].task_id",
        "All instances of a group are of one task.",
    ),
    Equivalent(
        "logs.last_lines",
        "line = shortened(line, MAX_LINE_CHARACTERS)  # noqa: PLW2901 - the same line",
        "line = shortened(line, )  # noqa: PLW2901 - the same line",
        "The bound is the default of `shortened`, too.",
    ),
    Equivalent(
        "logs.written_events",
        "is_of_sources = False",
        "is_of_sources = None",
        "It is only asked whether it is so.",
    ),
    Equivalent(
        "logs._is_bookkeeping",
        'logger = event.logger or ""',
        'logger = event.logger or "XXXX"',
        "Neither is the name of a logger of Airflow.",
    ),
    Equivalent(
        "identity.Identity.__init__",
        'self._keyed = hmac.new(secret, digestmod="sha256")',
        'self._keyed = hmac.new(secret, digestmod="SHA256")',
        "Names of hashes have no case.",
    ),
    Equivalent(
        "identity.Identity.__init__",
        'self._owner = lru_cache(maxsize=OWNERS)(lambda caller: self._hash(OWNER_LENGTH, "owner", caller))',
        'self._owner = lru_cache(maxsize=None)(lambda caller: self._hash(OWNER_LENGTH, "owner", caller))',
        "It bounds the memory only.",
    ),
    Equivalent(
        "keys.read_keys",
        "reasons = (f\"{'.'.join(map(str, item['loc']))}: {item['msg']}\" for item in error.errors(include_input=False))",
        "reasons = (f\"{'.'.join(map(str, item['loc']))}: {item['msg']}\" for item in error.errors(include_input=True))",
        "The input is not among what is shown.",
    ),
    Equivalent(
        "keys.new_key",
        "return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)",
        "return PREFIX + secrets.token_urlsafe(None)",
        "By itself Python takes as many bytes.",
    ),
    Equivalent(
        "tokens.IssuerKeys.__init__",
        "self._is_away = False",
        "self._is_away = None",
        "The keys are read before it is looked at, which sets it.",
    ),
    Equivalent(
        "tokens.IssuerKeys.__init__",
        "self._is_away = False",
        "self._is_away = True",
        "The keys are read before it is looked at, which sets it.",
    ),
    Equivalent(
        "tokens.IssuerKeys._read",
        "self._is_away = False",
        "self._is_away = None",
        "It is only asked whether it is so.",
    ),
    Equivalent(
        "tokens.claims_for_us",
        'if _time(claims.get("nbf", 0), otherwise=inf) > now + LEEWAY_SECONDS:',
        'if _time(claims.get("nbf", 1), otherwise=inf) > now + LEEWAY_SECONDS:',
        "Both are in 1970.",
    ),
    Equivalent(
        "tokens.JwtTokens.caller",
        "algorithms=ALGORITHMS,",
        "algorithms=None,",
        "The header was checked against them before, and the key says its own.",
    ),
    Equivalent(
        "tokens.JwtTokens.caller",
        "algorithms=ALGORITHMS,",
        "",
        "The header was checked against them before, and the key says its own.",
    ),
)


def reason(where: str, before: str, after: str) -> str | None:
    """Return why a mutant does the same as the code; None if that is not said."""
    for text, changed, because in ANYWHERE:
        pieces = before.split(text)
        if any(text.join(pieces[:at]) + changed + text.join(pieces[at:]) == after for at in range(1, len(pieces))):
            return because
    found = (one.because for one in EQUIVALENTS if (one.where, one.before, one.after) == (where, before, after))
    return next(found, None)
