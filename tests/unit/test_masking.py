"""Masking hides secrets and keeps what people read logs for. All secrets here are made up."""

import base64
import math
import time
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dagcall.masking import MASK, SHAPES, Masker

A40 = "aB3" * 13 + "x"
HIDDEN = [
    ("private key", f"k: -----BEGIN RSA PRIVATE KEY-----\n{A40}\n-----END RSA PRIVATE KEY-----!", A40),
    ("private key", f"-----BEGIN PRIVATE KEY-----\n{A40}\n{A40} and the rest is cut off", A40),
    ("user and password of an address", "GET https://reader:hunter2@db.internal:5432/x", "hunter2"),
    ("user and password of an address", "redis://:hunter2@cache/0", "hunter2"),
    ("token as the user of an address", f"git clone https://{A40}@example.org/x.git", A40),
    ("cookie", "Set-Cookie: session=abc; Path=/", "abc"),
    ("cookie", "{'Cookie': 'session=abc', 'Accept': '*/*'}", "abc"),
    ("authorization header", "Authorization: Bearer abcdef", "abcdef"),
    ("authorization header", "{'authorization': 'Token abcdef', 'accept': '*/*'}", "abcdef"),
    ("scheme of an authorization header", "curl -H bearer abcdefgh1", "abcdefgh1"),
    ("scheme of an authorization header", f"it sent Basic {'a' * 44}=", "a" * 44),
    ("JSON web token", "got eyJhbGciOi.eyJzdWIiOi.abc-_1 back", "eyJzdWIiOi"),
    ("AWS", "used AKIAABCDEFGHIJKLMNOP for it", "AKIAABCDEFGHIJKLMNOP"),
    ("GitHub", f"ghp_{A40}", A40),
    ("GitHub", f"github_pat_{A40}", A40),
    ("GitLab", f"glpat-{A40}", A40),
    ("Google", f"AIza{A40}", A40),
    ("Google", f"ya29.{A40}", A40),
    ("Slack", "xoxb-1234567890-abc", "1234567890"),
    ("Slack webhook", "POST https://hooks.slack.com/services/T0/B0/abc failed", "T0/B0/abc"),
    ("OpenAI, Anthropic and others", f"Incorrect key provided: sk-proj-{A40}.", A40),
    ("Stripe", "sk_live_abcdefghijkl", "abcdefghijkl"),
    ("package registries", f"npm_{A40}", A40),
    ("Hugging Face, Databricks", f"hf_{A40}", A40),
    ("SendGrid", f"SG.{A40}.{A40}", A40),
    ("signature in an address", "https://x.blob/y?se=1&sig=abc%3D&sv=2", "abc%3D"),
    ("quoted value of a name", '{"password": "a, b\\"c", "user": "me"}', 'a, b\\"c'),
    ("quoted value of a name", "{'client_secret': b'abc'}", "abc"),
    ("quoted value of a name", '"{\\"api_key\\": \\"abc\\", \\"n\\": 1}"', "abc"),
    ("quoted value of a name", 'DB_PASSWORD="never ends', "never"),
    ("value of a name", "AWS_SECRET_ACCESS_KEY=abc", "abc"),
    ("value of a name", "host=db password=abc user=me", "abc"),
    ("value of a name", "AccountName=x;AccountKey=abc==;Suffix=y", "abc"),
    ("value after a colon", "Password: correct-horse", "correct-horse"),
    ("likely value after a colon", "api key: abc4 is wrong", "abc4"),
    ("likely value after a colon", "X-Api-Key: abc4", "abc4"),
    ("abbreviated password", "UID=me;PWD=abc;", "abc"),
    ("option of a command", "tool --db-password abc --verbose", "abc"),
]
SHOWN = [
    "prompt_tokens=512, completion_tokens: 40, max_tokens = 8",
    "reading the password from password_file=/run/secrets/db",
    "password=None, token=null, secret = False",
    "KeyError: 'password'",
    "SyntaxError: invalid token: unexpected end of file",
    "GET http://127.0.0.1:8080/users/bob@example.org -> 404",
    "PWD=/opt/airflow",
    "the basic rules of bearer certificates",
    "task-long-name-of-something-that-is-no-key",
    "signature: (a: int, b: int)",
    "wrong password",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
]


@pytest.mark.parametrize(("shape", "text", "secret"), HIDDEN)
def test_text_that_looks_like_a_secret_is_hidden(shape: str, text: str, secret: str) -> None:
    told = Masker().masked(text)

    assert secret not in told
    assert MASK in told
    (alone,) = [one for one in SHAPES if one.name == shape]
    assert secret not in alone.pattern.sub(rf"\g<keep>{MASK}", text), "another shape hid it"


def test_every_shape_is_tested() -> None:
    assert {shape for shape, _, _ in HIDDEN} == {shape.name for shape in SHAPES}


@pytest.mark.parametrize("text", SHOWN)
def test_text_that_only_mentions_secrets_is_kept(text: str) -> None:
    assert Masker().masked(text) == text


def test_text_around_a_secret_is_kept() -> None:
    assert Masker().masked('{"password": "x y", "user": "me"}') == '{"password": "***", "user": "me"}'
    assert Masker().masked("https://me:x@db/1") == "https://me:***@db/1"
    assert Masker().masked("a -----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY----- b") == (
        "a -----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY----- b"
    )


@pytest.mark.parametrize(
    "form",
    [
        'pä"ss/w+rd \\1',
        "p%C3%A4%22ss%2Fw%2Brd%20%5C1",
        "p%C3%A4%22ss%2Fw%2Brd+%5C1",
        'p\\u00e4\\"ss/w+rd \\\\1',
        'pä\\"ss/w+rd \\\\1',
        "p%c3%a4%22ss%2fw%2brd%20%5c1",
        'p\\\\u00e4\\\\\\"ss/w+rd \\\\\\\\1',
        base64.b64encode('pä"ss/w+rd \\1'.encode()).decode(),
    ],
)
def test_known_secret_is_hidden_in_every_encoding(form: str) -> None:
    assert Masker(['pä"ss/w+rd \\1']).masked(f"<{form}>").strip("<>=") == MASK


@given(st.text(min_size=12), st.binary(max_size=9), st.binary(max_size=9), st.sampled_from(["+/", "-_"]))
def test_known_secret_is_hidden_within_base64(secret: str, before: bytes, after: bytes, odd: str) -> None:
    """As in `user:password`; at most the characters that the secret shares with its neighbours remain."""
    encoded = base64.b64encode(before + secret.encode() + after, altchars=odd.encode()).decode()
    its_own = encoded[math.ceil(len(before) * 8 / 6) : int(len(before + secret.encode()) * 8 / 6)]
    told = Masker([secret]).without_known(encoded)
    assert its_own not in told
    assert MASK in told


def test_longer_of_two_secrets_is_hidden_completely() -> None:
    assert Masker(["secret", "secret-of-two"]).masked("a secret-of-two b secret c") == "a *** b *** c"


def test_short_secret_is_not_hidden() -> None:
    assert Masker(["admin"]).masked("the admin said") == "the admin said"


words = st.sampled_from(
    [*(text for _, text, _ in HIDDEN), *SHOWN, "password", "token", "=", ":", ": ", '"', "'", "\\", "\n", " ", "-", "@"]
)


@given(st.lists(st.one_of(words, st.text(max_size=5)), max_size=12).map("".join))
@example("password=token=abc")
def test_masking_is_idempotent(text: str) -> None:
    masker = Masker(["correct-horse"])
    told = masker.masked(text)
    assert masker.masked(told) == told


@given(
    st.text(st.characters(exclude_characters="*", exclude_categories=["Cs"]), min_size=8),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_known_secret_is_hidden_in_any_context(secret: str, before: str, after: str) -> None:
    for form in (secret, quote(secret, safe="")):
        assert form not in Masker([secret]).masked(before + form + after)


def test_secret_that_is_not_valid_text_is_hidden() -> None:
    assert Masker(["\udcffsecret"]).masked("a \udcffsecret or %FFsecret") == "a *** or ***"


FRAGMENTS = sorted(
    {text[:cut] for _, text, _ in HIDDEN for cut in (3, 8, 13, 20, len(text))}
    | {
        "-----BEGIN PRIVATE KEY-----",
        "://",
        "://a:",
        "eyJ-",
        "eyJa.",
        "SG.a",
        "password=",
        "--a-",
        'token="',
        "basic a",
    }
)


@pytest.mark.untraced
@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_masking_is_fast_for_any_text(fragment: str) -> None:
    """A quadratic pattern would need minutes; all patterns together need some hundredths of a second."""
    text = fragment * (30_000 // len(fragment))
    began = time.process_time()
    Masker().masked(text)
    assert time.process_time() - began < 0.5


def test_without_known_removes_only_known_secrets_from_data() -> None:
    masker = Masker(["a long secret", "airflow"])
    data = {"a long secret": ["x a%20long%20secret", 1, None, {"password": "airflow", "token": "ghp_" + "a" * 36}]}
    assert masker.without_known(data) == {
        "***": ["x ***", 1, None, {"password": "airflow", "token": "ghp_" + "a" * 36}]
    }
    assert Masker().without_known(data) is data
