"""Named keys, for callers without an authorization server: a file with their hashes.

[[keys]]
name = "ci"
hash = "sha256:9f86d0…"          # printed by `dagcall key ci`, with the key itself
scopes = ["dags.run"]            # optional, like groups = ["finance"]

A key is 32 random bytes, which cannot be guessed from a fast hash; slow hashes are for passwords, which people choose.
"""

import hashlib
import hmac
import json
import logging
import secrets
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dagcall.auth.callers import Caller
from dagcall.errors import ConfigError

logger = logging.getLogger(__name__)

PREFIX = "dagcall_"
"""The prefix of every key: distinguishes it from a token, and lets scanners find leaked keys."""
RANDOM_BYTES = 32
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class Key(BaseModel):
    """One `[[keys]]` entry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    hash: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    scopes: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()

    @property
    def caller(self) -> Caller:
        """The caller with this key."""
        return Caller(f"key:{self.name}", self.name, self.scopes, self.groups)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[Key, ...] = ()


class Keys:
    """The keys of a file, reread when it changes.

    Args:
        path: the file.

    Raises:
        ConfigError: the file is unusable.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._keys = read_keys(path)

    def caller(self, text: str) -> Caller | None:
        """Return the caller with this key, if any."""
        self._read_anew_when_changed()
        given = hash_of(text)
        # Compares with all keys, each in constant time, so that the time reveals nothing.
        found = [key for key in self._keys if hmac.compare_digest(key.hash, given)]
        return found[0].caller if found else None

    def _read_anew_when_changed(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = read_keys(self._path)
        except ConfigError as error:
            logger.error("%s; the previous keys remain valid", error)  # noqa: TRY400 - the message says everything
        else:
            logger.info("reread %d keys from %s", len(self._keys), self._path)


def read_keys(path: Path) -> tuple[Key, ...]:
    """Return the keys of a file.

    Raises:
        ConfigError: the file cannot be read, an entry is invalid, or two have the same name or hash.
    """
    try:
        file = _File(**tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise ConfigError(f"auth.keys_file: {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        # Without the input, which may be a key in place of its hash.
        reasons = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_input=False))
        raise ConfigError(f"auth.keys_file: {path}: {'; '.join(reasons)}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"auth.keys_file: {path} is not valid TOML: {error}") from error
    for what in ("name", "hash"):
        values = [getattr(key, what) for key in file.keys]
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise ConfigError(f"auth.keys_file: {path}: two keys have the {what} {twice[0]}")
    return file.keys


def entry_of(key: str, name: str, *, scopes: Sequence[str] = (), groups: Sequence[str] = ()) -> str:
    """Return the `[[keys]]` entry for a key.

    Raises:
        ConfigError: the name is invalid.
    """
    try:
        entry = Key(name=name, hash=hash_of(key))
    except ValidationError as error:
        raise ConfigError(f"{name!r} is not a valid key name: use up to 64 letters, digits, dots, dashes") from error
    lines = ["[[keys]]", f"name = {json.dumps(entry.name)}", f"hash = {json.dumps(entry.hash)}"]
    for what, texts in (("scopes", scopes), ("groups", groups)):
        if texts:
            lines.append(f"{what} = {json.dumps(list(texts), ensure_ascii=False)}")
    return "\n".join(lines)


def new_key() -> str:
    """Return a new random key."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def hash_of(text: str) -> str:
    """Return the hash of a key, as stored in the file."""
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()}"


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return a value that changes when the file is written or replaced; None if the file is missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
