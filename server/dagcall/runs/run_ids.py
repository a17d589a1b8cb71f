"""Run ids that identify the caller and the call.

Pure. A run id is `mcp__<owner>_<key>`, followed by a number if the caller gave no idempotency key:

    mcp__k3jq7wzx2p_6dw5k0vq3rmn7t2y9bxc4f8h1g         the caller gave an idempotency key
    mcp__k3jq7wzx2p_6dw5k0vq3rmn7t2y9bxc4f8h1g_0       the first run of (tool, arguments), …
    mcp__k3jq7wzx2p_6dw5k0vq3rmn7t2y9bxc4f8h1g_1       … and the second

Owner and key are keyed hashes: every replica with the same secret makes the same ids from the same call, and without
the secret no id can be guessed. Airflow accepts a run id once per dag: that is the lock, and there is no other store.
"""

import base64
import hmac
import json
import re
from collections.abc import Mapping
from functools import lru_cache

from dagcall.plain_json import Json, canonical

PREFIX = "mcp__"
OWNER_LENGTH = 10
KEY_LENGTH = 26
"""130 bits."""
BYTES = 20
"""Enough for the longest: 32 letters of 5 bits."""
OWNERS = 1000
"""Callers whose owner hash is cached: every call needs it."""

_RUN_ID = re.compile(
    rf"{PREFIX}(?P<owner>[a-z2-7]{{{OWNER_LENGTH}}})_[a-z2-7]{{{KEY_LENGTH}}}(_(?P<number>0|[1-9]\d*))?"
)


class Identity:
    """Makes run ids.

    Args:
        secret: shared by all replicas, otherwise secret.
    """

    def __init__(self, secret: bytes) -> None:
        self._keyed = hmac.new(secret, digestmod="sha256")
        self._owner = lru_cache(maxsize=OWNERS)(lambda caller: self._hash(OWNER_LENGTH, "owner", caller))

    def owner(self, caller: str) -> str:
        """Return the part of a run id that identifies a caller."""
        return self._owner(caller)

    def run_id_of_key(self, caller: str, tool: str, key: str) -> str:
        """Return the run id that belongs to an idempotency key."""
        return f"{PREFIX}{self.owner(caller)}_{self._hash(KEY_LENGTH, 'key', caller, tool, key)}"

    def prefix(self, caller: str, tool: str, arguments: Mapping[str, Json]) -> str:
        """Return the prefix of the run ids of all identical calls of a caller; a number follows it."""
        return f"{PREFIX}{self.owner(caller)}_{self._hash(KEY_LENGTH, 'call', caller, tool, canonical(arguments))}_"

    def owns(self, caller: str, run_id: str) -> bool:
        """Say whether this run id belongs to a caller."""
        match = _RUN_ID.fullmatch(run_id)
        return match is not None and hmac.compare_digest(match["owner"], self.owner(caller))

    def key_for(self, purpose: str) -> bytes:
        """Return a 32-byte key for one purpose; all replicas with the same secret get the same key."""
        return self._digest("key for", purpose)

    def _hash(self, length: int, *parts: str) -> str:
        return base64.b32encode(self._digest(*parts)[:BYTES]).decode().lower()[:length]

    def _digest(self, *parts: str) -> bytes:
        keyed = self._keyed.copy()  # costs a third of a new HMAC
        keyed.update(json.dumps(parts).encode())
        return keyed.digest()


def run_id_in(text: str) -> str | None:
    """Return the first run id in a text; None without one."""
    found = _RUN_ID.search(text)
    return found[0] if found else None


def split_run_id(run_id: str) -> tuple[str, int | None]:
    """Return the prefix of a run's family, and the run's number in it.

    A run with an idempotency key is alone in its family: the prefix is its id, and it has no number.
    """
    number = number_in(run_id)
    return (run_id, None) if number is None else (run_id[: -len(str(number))], number)


def number_in(run_id: str) -> int | None:
    """Return a run's number in its family; None for a run with an idempotency key, or an id that is not dagcall's."""
    match = _RUN_ID.fullmatch(run_id)
    return int(match["number"]) if match and match["number"] is not None else None
