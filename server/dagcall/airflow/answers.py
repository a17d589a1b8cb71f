"""What an answer of Airflow says, whatever was asked: later, log in again, or a reason."""

import json
import re
from http import HTTPStatus

from dagcall.airflow.http import HttpAnswer
from dagcall.text import in_one_line

MAX_RETRY_AFTER_SECONDS = 60.0
LONGEST_EMPTY_LIST_BYTES = 200
PARSE_ERRORS = (LookupError, TypeError, ValueError, AttributeError)
_REDIRECTS = range(300, 400)
_TITLE = re.compile(r"<title>([^<]{1,300})</title>", re.IGNORECASE)
LONGEST_TITLE = 100


def says_later(answer: HttpAnswer) -> bool:
    """Return whether Airflow, or what is in front of it, cannot answer now."""
    return answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.is_server_error


def refuses_token(answer: HttpAnswer) -> bool:
    """Return whether Airflow refused the token: 401, or 403 "Invalid JWT token"."""
    return answer.status == HTTPStatus.UNAUTHORIZED or (
        answer.status == HTTPStatus.FORBIDDEN and "Invalid JWT token" in answer.text
    )


def says_log_in_again(answer: HttpAnswer) -> bool:
    """Return whether another token may help: this one was refused, or something in front points to a log-in page.

    Airflow's API itself redirects nowhere; Google's proxy in front of Cloud Composer does, once a token has expired.
    """
    return refuses_token(answer) or answer.status in _REDIRECTS


def shows_nothing(answer: HttpAnswer) -> bool:
    """Return whether an answer is what an account without any right gets: a refusal, or an empty list."""
    if answer.status == HTTPStatus.FORBIDDEN:
        return True
    if not answer.is_success or len(answer.content) > LONGEST_EMPTY_LIST_BYTES:
        return False
    try:
        return bool(json.loads(answer.content)["total_entries"] == 0)
    except PARSE_ERRORS:
        return False


def retry_after_seconds(answer: HttpAnswer) -> float | None:
    """Return the seconds of a Retry-After header; one with a date is ignored in favour of our own back-off."""
    text = answer.headers.get("retry-after", "")
    return min(float(text), MAX_RETRY_AFTER_SECONDS) if text.isdecimal() else None


def reason_in(answer: HttpAnswer) -> str | None:
    """Return the first line of Airflow's own reason, shortened to fit a sentence; None if it gives none.

    Airflow's API returns `{"detail": …}` in every version, and never just "Not Found" for a 404: that is what other
    servers made with the same framework return.
    """
    try:
        detail = json.loads(answer.content)["detail"]
        if isinstance(detail, list):  # FastAPI's 422: [{"loc": ["body", "conf"], "msg": "…"}]
            detail = "; ".join(f"{'.'.join(map(str, item.get('loc', ())))}: {item.get('msg', '')}" for item in detail)
        elif isinstance(detail, dict):
            detail = detail.get("reason", "")
    except (*PARSE_ERRORS, RecursionError):
        return None
    if detail is None or (answer.status == HTTPStatus.NOT_FOUND and detail == answer.reason):
        return None
    lines = str(detail).strip().splitlines()
    return lines[0][:300] if lines else "no reason given"


def pointing_to(answer: HttpAnswer) -> str:
    """Return where an answer redirects to, in brackets; empty if it does not."""
    return f" (it points to {answer.headers['location']})" if "location" in answer.headers else ""


def page_title(answer: HttpAnswer) -> str:
    """Return the title of a page that came instead of Airflow's answer, in brackets; empty without one.

    Proxies say there what is wrong: nginx, for example, that a client certificate is missing.
    """
    found = _TITLE.search(answer.text[:2000])
    return f' ("{in_one_line(found[1])[:LONGEST_TITLE]}")' if found else ""
