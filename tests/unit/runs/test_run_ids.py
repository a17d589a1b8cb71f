import re
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagcall.app import identity_secret
from dagcall.runs.run_ids import Identity, number_in, run_id_in, split_run_id
from dagcall.settings.settings import Settings

OURS = Identity(b"secret")
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))
ARGUMENTS = st.dictionaries(st.text(), JSON, max_size=3)


@given(st.text(), st.text(), ARGUMENTS, st.integers(0, 10**6))
def test_run_id_is_valid_in_airflow_and_identifies_its_owner(
    caller: str, tool: str, arguments: dict[str, object], number: int
) -> None:
    run_id = f"{OURS.prefix(caller, tool, arguments)}{number}"

    assert re.fullmatch(r"[A-Za-z0-9_.~:+-]+", run_id)
    assert len(run_id) <= 250
    assert OURS.owns(caller, run_id)
    assert not OURS.owns(f"{caller}'", run_id)
    assert number_in(run_id) == number


@given(st.text(), st.text(), st.text(min_size=1))
def test_key_gives_one_run_id_without_a_number(caller: str, tool: str, key: str) -> None:
    run_id = OURS.run_id_of_key(caller, tool, key)

    assert run_id == Identity(b"secret").run_id_of_key(caller, tool, key)
    assert run_id != Identity(b"other").run_id_of_key(caller, tool, key)
    assert OURS.owns(caller, run_id)
    assert number_in(run_id) is None


@given(ARGUMENTS, ARGUMENTS)
def test_only_equal_arguments_give_the_same_run_id_prefix(one: dict[str, object], other: dict[str, object]) -> None:
    reordered = dict(reversed(one.items()))

    assert OURS.prefix("c", "t", one) == OURS.prefix("c", "t", reordered)
    assert (OURS.prefix("c", "t", one) == OURS.prefix("c", "t", other)) == (one == other)


def test_parts_of_a_run_id_cannot_be_confused() -> None:
    assert OURS.run_id_of_key("a", "b", "c") != OURS.run_id_of_key("a", "bc", "")
    assert OURS.run_id_of_key("a", "b", "c") != OURS.prefix("a", "b", {})


@pytest.mark.parametrize("run_id", ["", "manual__2026", "mcp__x", "mcp__x/../y", f"mcp__{'a' * 10}_{'b' * 26}_01"])
def test_foreign_run_id_has_no_owner(run_id: str) -> None:
    assert not OURS.owns("c", run_id)
    assert number_in(run_id) is None


NUMBERED = f"mcp__{'a' * 10}_{'b' * 26}_12"
KEYED = f"mcp__{'a' * 10}_{'c' * 26}"


@pytest.mark.parametrize(
    ("text", "run_id"),
    [
        (f"Run {NUMBERED} of dag d, not {KEYED}.", NUMBERED),
        (f"({KEYED})", KEYED),
        ("manual__2026", None),
        ("", None),
    ],
)
def test_a_run_id_is_found_in_a_text(text: str, run_id: str | None) -> None:
    assert run_id_in(text) == run_id


def test_numbered_run_id_is_split_into_prefix_and_number() -> None:
    assert split_run_id(NUMBERED) == (NUMBERED.removesuffix("12"), 12)
    assert split_run_id(KEYED) == (KEYED, None)
    assert split_run_id("manual__2026") == ("manual__2026", None)


def test_secret_derived_from_a_password_is_slow_to_compute() -> None:
    """A caller with a run id can check a guessed password with one `identity_secret` and one HMAC."""

    def secret(password: str, username: str = "agent") -> bytes:
        return identity_secret(Settings.model_validate({"airflow": {"username": username, "password": password}}))

    began = process_time()
    first = secret(f"guessed at {began}")
    assert process_time() - began > 0.005

    assert len(first) == 32
    assert first == secret(f"guessed at {began}")
    assert len({first, secret("other"), secret("other", "somebody else")}) == 3


def test_run_ids_are_stable_across_releases() -> None:
    """A call that is repeated after an upgrade must find its run."""
    family = OURS.prefix("local", "double", {"b": [1, "é"], "a": None})

    assert family == "mcp__s6a2tb6ake_cvue2shoy36lyoyywk4dooghxo_"
    assert OURS.run_id_of_key("local", "double", "order-7") == "mcp__s6a2tb6ake_fcuqjarrwmpvpvlqtnxr3kb6jy"
    assert OURS.key_for("request state").hex().startswith("d6f0fe2d4b0deb3e")
