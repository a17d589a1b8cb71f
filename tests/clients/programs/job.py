"""What a program of this folder is told to do, and how it says what it saw. No more is shared with the tests.

    python with_….py '{"action": "call", "url": "http://…/mcp", "tool": "quick", "arguments": {"x": 1}, …}'

A program prints one line of JSON, its last.
"""

import json
import os
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """One thing to do with a server."""

    action: str
    """`list`, `call`, `progress`, `failure`, `repeat`, `question`, `large` or `cancel`."""
    url: str
    """The server's, over HTTP; empty: start `command` and speak over stdio."""
    command: list[str]
    tool: str
    arguments: dict[str, Any]
    patience: float
    """Seconds after which a client that is to give up does so."""
    linger: float
    """Seconds for which a client that has cancelled a call stays connected."""
    answer: dict[str, Any]
    """What the client's user answers to a question."""
    variant: str = ""
    """Which of several ways to use the client."""

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a server over stdio: this program's own."""
        return dict(os.environ)  # noqa: TID251 - a child process begins with the environment of its parent


JOB = Job(**json.loads(sys.argv[1]))
MOST_CALLS = 8
"""How often a client makes the same call whose time-out it cannot change in between."""


def say(**found: Any) -> None:
    """Print what was seen.

    Args:
        found: `tools`: names; `text`: what the model reads of an answer; `is_error`: whether the client knows of one;
            `progress`: pairs of number and message; `asked`: what the user was asked; `gave_up`: a message for each
            time-out; `cancelled`: true.
    """
    print(json.dumps(found, default=str), flush=True)  # noqa: T201 - its result
