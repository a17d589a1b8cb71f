"""Named keys: the file, and what becomes of it while dagcall runs. tests/e2e/test_callers.py sends them over HTTP."""

import logging
import os
import re
from pathlib import Path

import pytest

from dagcall.callers import Caller
from dagcall.errors import ConfigError
from dagcall.keys import Keys, entry_of, hash_of, new_key, read_keys

HASH = hash_of("dagcall_x")


def written(folder: Path, text: str) -> Path:
    path = folder / "keys.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_key_stands_for_a_caller(tmp_path: Path) -> None:
    ci, idle = new_key(), new_key()
    entries = [entry_of(ci, "ci", scopes=["dags.run"], groups=['"finance"', "ö"]), entry_of(idle, "idle")]
    keys = Keys(written(tmp_path, "\n\n".join(entries)))

    assert keys.caller(ci) == Caller("key:ci", "ci", frozenset({"dags.run"}), frozenset({'"finance"', "ö"}))
    assert keys.caller(idle) == Caller("key:idle", "idle", frozenset(), frozenset())
    assert keys.caller(ci + "x") is None
    assert keys.caller(hash_of(ci)) is None
    assert keys.caller("\udcff") is None


def test_keys_are_random_and_the_file_holds_none() -> None:
    one, other = new_key(), new_key()

    assert one != other
    assert re.fullmatch(r"dagcall_[A-Za-z0-9_-]{43}", one)
    assert one not in entry_of(one, "ci")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[keys]", "is not valid TOML"),
        ("[[keys]]\nname = 'a'", "keys.0.hash: Field required"),
        (f"[[keys]]\nname = 'a b'\nhash = '{HASH}'", "keys.0.name: String should match"),
        (f"[[keys]]\nname = 'a'\nhash = '{HASH}'\nscope = 'a'", "keys.0.scope: Extra inputs"),
        (f"[[key]]\nname = 'a'\nhash = '{HASH}'", "key: Extra inputs"),
        (f"[[keys]]\nname = 'a'\nhash = '{HASH}'\n" * 2, "two keys have the name a"),
        (f"[[keys]]\nname = 'a'\nhash = '{HASH}'\n[[keys]]\nname = 'b'\nhash = '{HASH}'\n", "two keys have the hash"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(reason)):
        read_keys(written(tmp_path, text))


def test_a_key_that_stands_where_its_hash_should_be_is_not_repeated(tmp_path: Path) -> None:
    key = new_key()

    with pytest.raises(ConfigError) as caught:
        read_keys(written(tmp_path, f"[[keys]]\nname = 'a'\nhash = '{key}'"))

    assert key not in str(caught.value)


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"auth.keys_file: .* cannot be read: No such file"):
        Keys(tmp_path / "none.toml")


def test_a_name_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="'a b' is no name for a key"):
        entry_of(new_key(), "a b")


def test_a_changed_file_counts_at_once(tmp_path: Path) -> None:
    old, new = new_key(), new_key()
    keys = Keys(written(tmp_path, entry_of(old, "old")))
    assert keys.caller(old)

    written(tmp_path, entry_of(new, "new"))

    assert keys.caller(old) is None
    assert keys.caller(new)


def test_a_replaced_file_counts_even_with_the_same_time_and_size(tmp_path: Path) -> None:
    old, new = new_key(), new_key()
    path = written(tmp_path, entry_of(old, "one"))
    keys = Keys(path)
    replacement = tmp_path / "next.toml"
    replacement.write_text(entry_of(new, "one"), encoding="utf-8")
    status = path.stat()
    os.utime(replacement, ns=(status.st_atime_ns, status.st_mtime_ns))
    replacement.replace(path)

    assert keys.caller(new)


def test_a_file_that_broke_leaves_the_keys_as_they_were(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = new_key()
    path = written(tmp_path, entry_of(key, "ci"))
    keys = Keys(path)

    written(tmp_path, "[[keys]")
    with caplog.at_level(logging.ERROR):
        assert keys.caller(key)
        assert keys.caller(key)
    assert len(caplog.records) == 1  # told once, not for each call

    path.unlink()
    assert keys.caller(key)

    written(tmp_path, "")
    assert keys.caller(key) is None
