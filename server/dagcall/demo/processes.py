"""Child processes: started, watched, and stopped together with their descendants.

Each child has its own session, so that Ctrl-C in a terminal reaches only the demo, which then stops the children in
order. A file per child, `<name>.pid`, lets the next start find the processes of a killed demo.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from dagcall.demo.process_table import ProcessRow, family, process_table, send, still_running

CHILD = Path(__file__).parent / "child.py"
#: Seconds that a child gets to shut down.
STOP_SECONDS = 3.0
#: Seconds between two reads of the process table while stopping.
LOOK_INTERVAL = 0.1
#: The maximum number of seconds until the death of a child is noticed.
WATCH_INTERVAL = 0.25


class ChildDied(Exception):  # a statement, as its siblings in errors.py
    """A child process ended unexpectedly or failed."""

    def __init__(self, name: str, log: Path, code: int) -> None:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        super().__init__(f"{name} {how}")
        self.log = log


@dataclass(frozen=True)
class Child:
    """One child process."""

    name: str
    process: asyncio.subprocess.Process
    ended: asyncio.Task[int]
    log: Path
    pid_file: Path
    stop_signal: signal.Signals
    stop_turn: int
    """Children with a lower number are stopped first; those with the same number at the same time."""
    stop_seconds: float
    """How long it may take to shut down."""
    may_end: bool
    """Whether it ends by itself; the others run until they are stopped."""


@dataclass
class Children:
    """The children of one demo.

    Args:
        run_folder: their working directory and the folder for pid files.
        log_folder: the folder for `<name>.log`.
    """

    run_folder: Path
    log_folder: Path
    running: list[Child] = field(default_factory=list)

    async def start(
        self,
        name: str,
        command: list[str],
        *,
        interpreter: Path,
        environ: Mapping[str, str],
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_turn: int = 0,
        stop_seconds: float = STOP_SECONDS,
        may_end: bool = False,
    ) -> Child:
        """Start `command` with its output in `<name>.log`; `interpreter` runs `child.py` first."""
        log = self.log_folder / f"{name}.log"
        with open_log(log) as output:
            # -I isolates child.py from the environment and the folder
            process = await asyncio.create_subprocess_exec(
                *[str(interpreter), "-I", str(CHILD), str(os.getpid()), stop_signal.name, *command],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env=environ,
                cwd=self.run_folder,
                start_new_session=True,
            )
        ended = asyncio.create_task(process.wait(), name=f"end of {name}")
        child = Child(
            name, process, ended, log, self.run_folder / f"{name}.pid", stop_signal, stop_turn, stop_seconds, may_end
        )
        self.running.append(child)
        write_pid_file(child)
        return child

    async def run(self, name: str, command: list[str], *, interpreter: Path, environ: Mapping[str, str]) -> None:
        """Run `command` and wait for its end.

        Raises:
            ChildDied: it failed.
        """
        child = await self.start(name, command, interpreter=interpreter, environ=environ, may_end=True)
        code = await asyncio.shield(child.ended)
        self._forget(child)
        if code:
            raise ChildDied(name, child.log, code)

    async def watch(self) -> None:
        """Watch all children, including those started later, until one ends unexpectedly.

        Raises:
            ChildDied: when that happens.
        """
        while True:
            for child in self.running:
                if child.ended.done() and not child.may_end:
                    raise ChildDied(child.name, child.log, child.ended.result())
            await asyncio.sleep(WATCH_INTERVAL)

    async def stop(self) -> None:
        """Stop all children in order, and their leftover processes."""
        for turn in sorted({child.stop_turn for child in self.running}):
            await asyncio.gather(*(self._stop_one(child) for child in self.running if child.stop_turn == turn))

    async def _stop_one(self, child: Child) -> None:
        """Ask `child` to end; kill its remaining processes once it has ended, or after its `stop_seconds`."""
        before = family(process_table(), child.process.pid)
        if not child.ended.done():
            with contextlib.suppress(ProcessLookupError):
                child.process.send_signal(child.stop_signal)
            await asyncio.wait([child.ended], timeout=child.stop_seconds)
        await kill_session(child.process.pid, before)
        await child.ended
        self._forget(child)

    def kill(self) -> None:
        """Kill all children and their descendants at once."""
        table = process_table()
        for child in self.running:
            send(family(table, child.process.pid), signal.SIGKILL)
            child.pid_file.unlink(missing_ok=True)

    def _forget(self, child: Child) -> None:
        self.running.remove(child)
        child.pid_file.unlink(missing_ok=True)


async def kill_session(leader: int, known: list[ProcessRow]) -> None:
    """Kill the processes of `leader` and those of `known` that still run, until none is left."""
    while rows := [*family(process_table(), leader), *still_running(known)]:
        send(rows, signal.SIGKILL)
        await asyncio.sleep(LOOK_INTERVAL)


def write_pid_file(child: Child) -> None:
    """Record the child's pid and start time; the start time is None if it has already ended."""
    started = next((row.started for row in process_table() if row.pid == child.process.pid), None)
    note = {"pid": child.process.pid, "started": started, "stop_signal": child.stop_signal.name}
    child.pid_file.write_text(json.dumps(note))


async def stop_leftovers(run_folder: Path) -> None:
    """Stop the processes of a killed demo that are recorded in `run_folder`."""
    for note in read_pid_files(run_folder):
        await stop_leftover(note["pid"], note["started"], signal.Signals[note["stop_signal"]])
    remove_pid_files(run_folder)


def read_pid_files(run_folder: Path) -> list[dict[str, Any]]:
    """Return the content of the pid files; ignore incomplete files."""
    notes = []
    for path in run_folder.glob("*.pid"):
        with contextlib.suppress(ValueError):
            notes.append(json.loads(path.read_text()))
    return notes


def remove_pid_files(run_folder: Path) -> None:
    """Remove the pid files after their processes have ended."""
    for path in run_folder.glob("*.pid"):
        path.unlink()


async def stop_leftover(pid: int, started: str, stop_signal: signal.Signals) -> None:
    """Stop one child of an earlier demo: send its stop signal first, then kill it."""
    rows = family(process_table(), pid)
    leader = next((row for row in rows if row.pid == pid), None)
    if leader and leader.started != started:
        return  # the pid was reused, so the child's whole session has ended
    if leader:
        send([leader], stop_signal)
        for _ in range(round(STOP_SECONDS / LOOK_INTERVAL)):
            if not still_running([leader]):
                break
            await asyncio.sleep(LOOK_INTERVAL)
    await kill_session(pid, rows)


def open_log(path: Path) -> BinaryIO:
    """Open a new log; keep the previous one as `<name>.log.1`."""
    with contextlib.suppress(FileNotFoundError):
        path.replace(path.with_name(f"{path.name}.1"))
    return path.open("wb")
