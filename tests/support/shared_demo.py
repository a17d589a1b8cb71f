"""One demo for all test processes of a run: the first that needs it starts it, and stops it once no other uses it."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from pydantic import TypeAdapter

from tests.support.running_demo import RunningDemo

RUNNING = TypeAdapter(RunningDemo)


@contextmanager
def shared_demo(folder: Path, start: Callable[[], AbstractContextManager[RunningDemo]]) -> Iterator[RunningDemo]:
    """Use the demo of this run.

    Args:
        folder: a folder that all processes of the run know, and no other run uses.
        start: starts the demo, and stops it at the end.
    """
    note, turn = folder / "demo.json", folder / "demo-turn.lock"
    with ExitStack() as ending_it, (folder / "demo-users.lock").open("w") as users:
        with locked(turn):
            is_ours = not note.exists()
            if is_ours:
                running = ending_it.enter_context(start())
                note.write_bytes(RUNNING.dump_json(running))
            else:
                running = RUNNING.validate_json(note.read_bytes())
            fcntl.flock(users, fcntl.LOCK_SH)
        yield running
        if is_ours:
            with locked(turn):  # who comes now will start another one
                fcntl.flock(users, fcntl.LOCK_EX)
                note.unlink()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, for which other processes wait."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
