"""Masks secrets in text that leaves dagcall.

Two ways. Secrets that the server knows (its Airflow password, its own secret, …) are found by value, even if
percent-encoded, escaped or in base64. Others are found by shape: tokens with recognisable formats, and values assigned
to a name such as `password`. The second way is no guarantee: a secret without a shape, in a plain sentence, is not
found. It prefers to mask too much, but keeps what people read logs for: counts of tokens, file names of secrets,
`password=None`.

Pure, and linear in the length of the text.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from dagcall.plain_json import Json

MASK = "***"
MIN_SECRET_CHARACTERS = 6
"""Masking a shorter secret would garble text, and it is easily guessed anyway."""
MIN_CHARACTERS_IN_DATA = 12
"""In data, masking a shorter one (such as `airflow`) would damage unrelated values."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of secret."""

    name: str
    pattern: re.Pattern[str]
    """Its group `keep` is kept, in front of the mask."""


_NAMES = (
    r"(?:pass(?:word|wd|phrase)|secret|token|credentials?|signature"
    r"|(?:api|access|account|auth|encryption|master|private|secret|shared|signing|subscription)[_.\- ]?(?:key|token)"
    r"|client[_.\- ]?secret|connection[_.\- ]?string|fernet[_.\- ]?key)"
)
_VALUE = r"""(?!(?:none|null|nil|true|false|undefined)\b)[^\s,;&"'<>(){}\[\]\\]+"""
"""A value without quotes; "there is none" is not one."""
_QUOTED = r"""b?(?P<quote>\\?["'])"""
_UNTIL_QUOTE = r"""(?:(?!(?P=quote))(?:\\.|[^\n\\]))+"""


def _shape(name: str, pattern: str) -> Shape:
    return Shape(name, re.compile(pattern, re.IGNORECASE))


def _token(name: str, pattern: str) -> Shape:
    """A token with a recognisable format; it must not continue to the left, which keeps matching linear."""
    return Shape(name, re.compile(rf"(?P<keep>)(?<![A-Za-z0-9_\-])(?:{pattern})"))


SHAPES = (
    _shape("private key", r"(?P<keep>-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----)(?s:.+?)(?=-----END|\Z)"),
    _shape("user and password of an address", r"(?P<keep>://[^\s/?#@:\"']*:)[^\s/?#@\"']+(?=@)"),
    _shape("token as the user of an address", r"(?P<keep>://)[^\s/?#@:\"']{20,}(?=@)"),
    _shape("cookie", r"(?P<keep>\bcookie[\"']?\s{0,3}[:=]\s{0,3}[\"']?)[^\s\"'][^\"'\n]*"),
    _shape(
        "authorization header",
        r"(?P<keep>\bauthorization\\?[\"']?\s{0,3}[:=]\s{0,3}\\?[\"']?(?:(?:basic|bearer|digest|token|negotiate) +)?)"
        r"[^\s\"'\\,}]+",
    ),
    _shape(
        "scheme of an authorization header",
        r"(?P<keep>\b(?:basic|bearer) +)(?=[a-z._~+/=\-]{0,60}[0-9]|[^\s\"',]{40})[a-z0-9._~+/=\-]{8,}",
    ),
    _token("JSON web token", r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){0,3}"),
    _token("AWS", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _token("GitHub", r"gh[oprsu]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{20,}"),
    _token("GitLab", r"gl[a-z]{2,6}-[A-Za-z0-9_-]{20,}"),
    _token("Google", r"AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}"),
    _token("Slack", r"xox[a-z]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}"),
    _shape("Slack webhook", r"(?P<keep>hooks\.slack\.com/(?:services|workflows)/)[a-z0-9/_]+"),
    _token("OpenAI, Anthropic and others", r"sk-[A-Za-z0-9_-]{20,}"),
    _token("Stripe", r"[prs]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,}"),
    _token("package registries", r"npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{40,}|dckr_pat_[A-Za-z0-9_-]{20,}"),
    _token("Hugging Face, Databricks", r"hf_[A-Za-z0-9]{30,}|dapi[0-9a-f]{32}"),
    _token("SendGrid", r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    _shape("signature in an address", r"(?P<keep>[?&;](?:sig|x-amz-signature|x-goog-signature)=)[^\s&\"']+"),
    _shape(
        "quoted value of a name",
        rf"(?P<keep>{_NAMES}\\?[\"']?\s{{0,3}}(?:[:=]|:=|=>)\s{{0,3}}{_QUOTED}){_UNTIL_QUOTE}",
    ),
    _shape("value of a name", rf"(?P<keep>{_NAMES}\\?[\"']?\s{{0,3}}(?:=|:=|=>)\s{{0,3}}){_VALUE}"),
    # In prose, "token: unexpected" and "secret: not found" are not secrets; a value with a digit may be one.
    _shape("value after a colon", rf"(?P<keep>pass(?:word|wd|phrase): {{0,3}}){_VALUE}"),
    _shape(
        "likely value after a colon",
        rf"(?P<keep>{_NAMES}\\?[\"']?: {{0,3}})(?=[^\s\"',;]{{0,80}}[0-9]){_VALUE}",
    ),
    _shape("abbreviated password", r"(?P<keep>\bpwd=)(?![/~.])[^\s,;&\"'<>(){}\[\]\\]+"),
    _shape("option of a command", rf"(?P<keep>(?<!\S)--(?:[a-z]{{1,20}}-){{0,3}}?{_NAMES} +)(?!-){_VALUE}"),
)
"""Applied in this order."""


class Masker:
    """Masks texts.

    Args:
        secrets: the secrets that the server knows.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = list(secrets)
        self._known = _any_of(known, MIN_SECRET_CHARACTERS)
        self._known_in_data = _any_of(known, MIN_CHARACTERS_IN_DATA)

    def masked(self, text: str) -> str:
        """Return the text with each secret replaced by `***`."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        for shape in SHAPES:
            text = shape.pattern.sub(rf"\g<keep>{MASK}", text)
        return text

    def without_known(self, value: Json) -> Json:
        """Return data without the secrets that the server knows: only by value, because data may look like secrets.

        A task's results belong to its caller, but dagcall's own password, which a task may be able to read, does not.
        """
        if self._known_in_data is None:
            return value
        if isinstance(value, str):
            return self._known_in_data.sub(MASK, value)
        if isinstance(value, list):
            return [self.without_known(item) for item in value]
        if isinstance(value, dict):
            return {self._known_in_data.sub(MASK, key): self.without_known(item) for key, item in value.items()}
        return value


def _any_of(secrets: list[str], min_characters: int) -> re.Pattern[str] | None:
    forms = {form for secret in secrets if len(secret) >= min_characters for form in _forms(secret)}
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    return re.compile("|".join(map(re.escape, longest_first))) if forms else None


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret's spellings in addresses, JSON, nested JSON, Python and headers."""
    data = secret.encode(errors="surrogateescape")
    yield secret
    for quoted in (quote(data, safe=""), quote_plus(data)):
        yield quoted
        yield re.sub("%..", lambda code: code[0].lower(), quoted)
    for text in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]):
        yield text
        yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield from _in_base64(data)


def _in_base64(data: bytes) -> Iterator[str]:
    """Yield the base64 forms of data at any position, e.g. after the user name of basic authentication.

    Three bytes become four characters, so there are three alignments. Characters that also encode bits of neighbouring
    bytes are left out.
    """
    for before in range(3):
        first, after = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        for encoded in (base64.b64encode(bytes(before) + data), base64.urlsafe_b64encode(bytes(before) + data)):
            text = encoded.decode().rstrip("=")
            yield from (form for form in (text[first:after], text[first:]) if len(form) >= MIN_SECRET_CHARACTERS)
