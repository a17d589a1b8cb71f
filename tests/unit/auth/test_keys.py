"""Named keys: the file, and changes to it while dagcall runs. tests/processes/test_callers.py sends keys over HTTP."""

import logging
import os
import re
from pathlib import Path

import pytest

from dagcall.auth.callers import Caller
from dagcall.auth.keys import Keys, entry_of, hash_of, new_key, read_keys
from dagcall.errors import ConfigError

HASH = hash_of("dagcall_x")


def written(folder: Path, text: str) -> Path:
    path = folder / "keys.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_key_identifies_a_caller(tmp_path: Path) -> None:
    ci, idle = new_key(), new_key()
    entries = [entry_of(ci, "ci", scopes=["dags.run"], groups=['"finance"', "ö"]), entry_of(idle, "idle")]
    keys = Keys(written(tmp_path, "\n\n".join(entries)))

    assert keys.caller(ci) == Caller("key:ci", "ci", frozenset({"dags.run"}), frozenset({'"finance"', "ö"}))
    assert keys.caller(idle) == Caller("key:idle", "idle", frozenset(), frozenset())
    assert keys.caller(ci + "x") is None
    assert keys.caller(hash_of(ci)) is None
    assert keys.caller("\udcff") is None


def test_entry_is_formatted_for_the_key_file() -> None:
    assert entry_of("dagcall_x", "ci", scopes=["dags.run", "a"], groups=["ö"]) == (
        "[[keys]]\n"
        'name = "ci"\n'
        'hash = "sha256:4c0fae617a58d4c8d8834d9cecb3d70ded5dfb164207a0d695f614ec67cd7730"\n'
        'scopes = ["dags.run", "a"]\n'
        'groups = ["ö"]'
    )


def test_key_file_may_start_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert [key.name for key in read_keys(written(tmp_path, "\ufeff" + entry_of("dagcall_x", "ci")))] == ["ci"]


def test_keys_are_random_and_not_stored_in_the_file() -> None:
    one, other = new_key(), new_key()

    assert one != other
    assert re.fullmatch(r"dagcall_[A-Za-z0-9_-]{43}", one)
    assert one not in entry_of(one, "ci")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[keys]", ": {path} is not valid TOML: Expected "),
        ("[[keys]]\nname = 'a'", ": {path}: keys.0.hash: Field required"),
        ("[[keys]]\nhash = 1", "keys.0.name: Field required; keys.0.hash: Input should be a valid string"),
        (f"[[keys]]\nname = 'a b'\nhash = '{HASH}'", "keys.0.name: String should match"),
        (f"[[keys]]\nname = 'a'\nhash = '{HASH}'\nscope = 'a'", "keys.0.scope: Extra inputs"),
        (f"[[key]]\nname = 'a'\nhash = '{HASH}'", "key: Extra inputs"),
        (f"[[keys]]\nname = 'a'\nhash = '{HASH}'\n" * 2, ": {path}: two keys have the name a"),
        (
            f"[[keys]]\nname = 'a'\nhash = '{HASH}'\n[[keys]]\nname = 'b'\nhash = '{HASH}'\n",
            f": two keys have the hash {HASH}",
        ),
    ],
)
def test_invalid_key_file_is_rejected_with_a_reason(tmp_path: Path, text: str, reason: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(ConfigError) as refused:
        read_keys(path)

    assert str(refused.value).startswith("auth.keys_file: ")
    assert reason.format(path=path) in str(refused.value)


def test_key_in_place_of_its_hash_is_not_repeated(tmp_path: Path) -> None:
    key = new_key()

    with pytest.raises(ConfigError) as caught:
        read_keys(written(tmp_path, f"[[keys]]\nname = 'a'\nhash = '{key}'"))

    assert key not in str(caught.value)


def test_missing_key_file_is_a_config_error(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"

    with pytest.raises(ConfigError) as refused:
        Keys(path)

    assert str(refused.value) == f"auth.keys_file: {path} cannot be read: No such file or directory"


def test_invalid_key_name_is_rejected() -> None:
    with pytest.raises(ConfigError) as refused:
        entry_of(new_key(), "a b")

    assert str(refused.value) == "'a b' is not a valid key name: use up to 64 letters, digits, dots, dashes"


def test_changed_key_file_is_reread_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old, new = new_key(), new_key()
    path = written(tmp_path, entry_of(old, "old"))
    caplog.set_level(logging.INFO)
    keys = Keys(path)
    assert keys.caller(old)
    assert caplog.records == []

    written(tmp_path, entry_of(new, "new"))

    with caplog.at_level(logging.INFO):
        assert keys.caller(old) is None
        assert keys.caller(new)
    assert [record.getMessage() for record in caplog.records] == [f"reread 1 keys from {path}"]


def test_replaced_key_file_is_reread_even_with_the_same_time_and_size(tmp_path: Path) -> None:
    old, new = new_key(), new_key()
    path = written(tmp_path, entry_of(old, "one"))
    keys = Keys(path)
    replacement = tmp_path / "next.toml"
    replacement.write_text(entry_of(new, "one"), encoding="utf-8")
    status = path.stat()
    os.utime(replacement, ns=(status.st_atime_ns, status.st_mtime_ns))
    replacement.replace(path)

    assert keys.caller(new)


def test_previous_keys_remain_valid_while_the_file_is_broken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = new_key()
    path = written(tmp_path, entry_of(key, "ci"))
    keys = Keys(path)

    written(tmp_path, "[[keys]")
    with caplog.at_level(logging.ERROR):
        assert keys.caller(key)
        assert keys.caller(key)
    (told,) = (record.getMessage() for record in caplog.records)  # once, not for each call
    assert told.startswith(f"auth.keys_file: {path} is not valid TOML: ")
    assert told.endswith("; the previous keys remain valid")

    path.unlink()
    assert keys.caller(key)

    written(tmp_path, "")
    assert keys.caller(key) is None
