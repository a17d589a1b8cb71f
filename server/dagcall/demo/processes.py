"""Child processes: started, watched, and stopped together with everything that they started themselves.

Each child leads a session of its own, so that Ctrl-C in a terminal reaches the demo alone, which then stops them in
order. A file per child, `<name>.pid`, lets the next start find what a killed demo left.
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
#: Seconds that a child gets to stop by itself.
STOP_SECONDS = 3.0
#: Seconds between two looks at the process table while stopping.
LOOK_INTERVAL = 0.1
#: Seconds until the death of a child is noticed, at most.
WATCH_INTERVAL = 0.25


class ChildDied(Exception):  # a statement, as its siblings in errors.py
    """A child process ended that should have kept running, or failed."""

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
    """Children with a lower number are stopped first; equal numbers at the same time."""
    stop_seconds: float
    """How long it may take to stop by itself."""
    may_end: bool
    """Whether it does one thing and ends; the others run until they are stopped."""


@dataclass
class Children:
    """The children of one demo.

    Args:
        run_folder: their working directory and the place of the pid files.
        log_folder: gets `<name>.log`.
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
        """Start `command`, its output into `<name>.log`; `interpreter` runs `child.py` before it."""
        log = self.log_folder / f"{name}.log"
        with open_log(log) as output:
            # -I: the child's first lines depend on nothing around them
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
        """Run `command` to its end.

        Raises:
            ChildDied: it failed.
        """
        child = await self.start(name, command, interpreter=interpreter, environ=environ, may_end=True)
        code = await asyncio.shield(child.ended)
        self._forget(child)
        if code:
            raise ChildDied(name, child.log, code)

    async def watch(self) -> None:
        """Watch all children, also those that are started meanwhile, until one ends that should not.

        Raises:
            ChildDied: always, in the end.
        """
        while True:
            for child in self.running:
                if child.ended.done() and not child.may_end:
                    raise ChildDied(child.name, child.log, child.ended.result())
            await asyncio.sleep(WATCH_INTERVAL)

    async def stop(self) -> None:
        """Stop all children in their turns, and whatever they left behind."""
        for turn in sorted({child.stop_turn for child in self.running}):
            await asyncio.gather(*(self._stop_one(child) for child in self.running if child.stop_turn == turn))

    async def _stop_one(self, child: Child) -> None:
        """Ask `child` to end; kill what is left of its family after its `stop_seconds`, or once it has ended."""
        before = family(process_table(), child.process.pid)
        if not child.ended.done():
            with contextlib.suppress(ProcessLookupError):
                child.process.send_signal(child.stop_signal)
            await asyncio.wait([child.ended], timeout=child.stop_seconds)
        await kill_family(child.process.pid, before)
        await child.ended
        self._forget(child)

    def kill(self) -> None:
        """Kill all children and all that they started, at once."""
        table = process_table()
        for child in self.running:
            send(family(table, child.process.pid), signal.SIGKILL)
            child.pid_file.unlink(missing_ok=True)

    def _forget(self, child: Child) -> None:
        self.running.remove(child)
        child.pid_file.unlink(missing_ok=True)


async def kill_family(leader: int, known: list[ProcessRow]) -> None:
    """Kill the family of `leader` and those of `known` that still run, until none is left."""
    while rows := [*family(process_table(), leader), *still_running(known)]:
        send(rows, signal.SIGKILL)
        await asyncio.sleep(LOOK_INTERVAL)


def write_pid_file(child: Child) -> None:
    """Note the child's pid and start time; nothing where it has ended already."""
    started = next((row.started for row in process_table() if row.pid == child.process.pid), None)
    note = {"pid": child.process.pid, "started": started, "stop_signal": child.stop_signal.name}
    child.pid_file.write_text(json.dumps(note))


async def stop_leftovers(run_folder: Path) -> None:
    """Stop the children that a killed demo left in `run_folder`, and theirs."""
    for note in read_pid_files(run_folder):
        await stop_leftover(note["pid"], note["started"], signal.Signals[note["stop_signal"]])
    remove_pid_files(run_folder)


def read_pid_files(run_folder: Path) -> list[dict[str, Any]]:
    """Return the content of the pid files; incomplete files are ignored."""
    notes = []
    for path in run_folder.glob("*.pid"):
        with contextlib.suppress(ValueError):
            notes.append(json.loads(path.read_text()))
    return notes


def remove_pid_files(run_folder: Path) -> None:
    """Remove the pid files, once none of their processes runs."""
    for path in run_folder.glob("*.pid"):
        path.unlink()


async def stop_leftover(pid: int, started: str, stop_signal: signal.Signals) -> None:
    """Stop one child of an earlier demo, asking first."""
    rows = family(process_table(), pid)
    leader = next((row for row in rows if row.pid == pid), None)
    if leader and leader.started != started:
        return  # the pid was reused, so the whole session of that name has ended
    if leader:
        send([leader], stop_signal)
        for _ in range(round(STOP_SECONDS / LOOK_INTERVAL)):
            if not still_running([leader]):
                break
            await asyncio.sleep(LOOK_INTERVAL)
    await kill_family(pid, rows)


def open_log(path: Path) -> BinaryIO:
    """Open a new log; the previous one is kept as `<name>.log.1`."""
    with contextlib.suppress(FileNotFoundError):
        path.replace(path.with_name(f"{path.name}.1"))
    return path.open("wb")
