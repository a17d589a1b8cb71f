"""The plugin of pytest that runs mutants: `python -m pytest -p tests.mutation.plugin FILE…`, started by `measure`.

Every test runs in a fork: first once each with no mutant, to see what it reaches and how long it takes; then those
that reach a mutant, once for each.
"""

import contextlib
import gc
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from mutmut.configuration import config as mutmut_config
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state as mutmut_state

SURVIVED, KILLED, TIMED_OUT = "survived", "killed", "timed out"
CPU_SECONDS = 3
"""A mutant that computes for so much longer than its tests did without it never ends."""
WALL_SECONDS = 60.0
"""One that takes so much longer by the clock waits for ever; a busy machine stretches every second."""
MORE_THAN_CORES = 6
"""So many more mutants run than there are cores: those that wait for ever hold up nobody, and where others keep the
machine busy, the next ones are under way before this process has its turn again."""
MOST_MEMORY = 4 << 30
EXAMPLES = 20
"""Of each property that hypothesis tries. They are the same ones each time, and a failing one is not made smaller."""


SETTINGS_OF_A_TEST = "_hypothesis_internal_use_settings"
"""Where hypothesis keeps what a test asks for."""


@dataclass(frozen=True, slots=True)
class Child:
    """A fork that runs tests with a mutant."""

    mutant: str
    gives_up_at: float


def pytest_collection() -> None:
    """Have hypothesis try the same few examples each time."""
    hypothesis.settings.register_profile(
        "mutation",
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("mutation")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have it try no more of them where a test asks for more."""
    for item in items:
        test = getattr(item, "obj", None)
        if hypothesis.is_hypothesis_test(test):
            own: hypothesis.settings = getattr(test, SETTINGS_OF_A_TEST, hypothesis.settings.get_profile("mutation"))
            fewer = min(own.max_examples, EXAMPLES)
            setattr(test, SETTINGS_OF_A_TEST, hypothesis.settings(own, max_examples=fewer))


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Run the mutants of the plan, and write what became of them."""
    if session.testsfailed:
        raise session.Interrupted("the tests cannot be collected")
    mutmut_config()  # read now: a test may be in another folder
    folder = Path(os.environ["DAGCALL_MUTATION"])  # noqa: TID251 - a pytest of its own is told so
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    reached, seconds = _reached(session, folder / "reached.json")
    gc.freeze()  # a fork that looks through what it has from here would copy all of it
    with (folder / "verdicts.jsonl").open("w", encoding="utf-8") as verdicts:
        for done, found in enumerate(_verdicts(session, plan, reached, seconds), start=1):
            print(json.dumps(found), file=verdicts, flush=True)
            if done % 50 == 0:
                sys.stderr.write(f"{done} of {sum(map(len, plan.values()))} mutants\n")
    return True


def _reached(session: pytest.Session, file: Path) -> tuple[dict[str, list[int]], list[float]]:
    """Return which tests reach which function, and how long each test takes."""

    def look() -> None:
        reached: dict[str, list[int]] = {}
        seconds = []
        for number in range(len(session.items)):
            before = time.process_time()
            if not _pass(session, [number]):
                raise RuntimeError(session.items[number].nodeid)
            seconds.append(time.process_time() - before)
            for function in mutmut_state()._stats:  # noqa: SLF001 - it has no other way
                reached.setdefault(function, []).append(number)
            mutmut_state()._stats.clear()  # noqa: SLF001 - likewise
        file.write_text(json.dumps([reached, seconds]), encoding="utf-8")

    file.unlink(missing_ok=True)
    pid = _forked("stats", look, quiet=False)
    os.waitpid(pid, 0)
    if not file.exists():
        raise session.Interrupted("the tests fail without a mutant")
    reached, seconds = json.loads(file.read_text(encoding="utf-8"))
    return reached, seconds


def _verdicts(
    session: pytest.Session, plan: dict[str, list[list[str]]], reached: dict[str, list[int]], seconds: list[float]
) -> Iterator[tuple[str, str]]:
    """Run the mutants, as many at a time as there are cores; yield each one's name and what became of it."""
    children: dict[int, Child] = {}
    most = len(os.sched_getaffinity(0)) + MORE_THAN_CORES
    for files, mutants in plan.items():
        own = {f"{name}.py" for name in files.split()}
        _require_pass(session, {number for tests in reached.values() for number in tests}, own)
        for mutant, function in mutants:
            tests = [number for number in reached.get(function, ()) if _file_of(session.items[number]) in own]
            if not tests:
                yield mutant, SURVIVED
                continue
            tests.sort(key=lambda number: seconds[number])
            usual = sum(seconds[number] for number in tests)
            while len(children) == most:
                yield from _ended(children)

            def run(tests: list[int] = tests, usual: float = usual) -> None:
                limit = int(time.process_time() + usual * 5) + CPU_SECONDS
                resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
                resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
                session.config.pluginmanager.register(_EndAtFirstFailure())
                _pass(session, tests)

            children[_forked(mutant, run)] = Child(mutant, time.monotonic() + WALL_SECONDS + 60 * usual)
    while children:
        yield from _ended(children)


def _require_pass(session: pytest.Session, tests: set[int], files: set[str]) -> None:
    """Run tests of some files together, as for a mutant that they all reach, but without one."""

    def run() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
        session.config.pluginmanager.register(_EndAtFirstFailure())
        _pass(session, sorted(number for number in tests if _file_of(session.items[number]) in files))

    _, status = os.waitpid(_forked("", run), 0)
    if status:
        raise session.Interrupted(f"together the tests of {', '.join(sorted(files))} fail without a mutant")


def _file_of(item: pytest.Item) -> str:
    """Return the file of a test, from tests/unit on."""
    return item.path.relative_to(item.config.rootpath / "tests" / "unit").as_posix()


def _ended(children: dict[int, Child]) -> Iterator[tuple[str, str]]:
    """Wait a moment; yield those that ended by then."""
    time.sleep(0.005)
    for pid, child in list(children.items()):
        if time.monotonic() > child.gives_up_at:
            os.kill(pid, signal.SIGKILL)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            del children[pid]
            code = os.waitstatus_to_exitcode(status)
            yield child.mutant, SURVIVED if code == 0 else TIMED_OUT if code < 0 else KILLED


def _forked(mutant: str, run: Callable[[], None], *, quiet: bool = True) -> int:
    """Run this in a fork with the mutant switched on; return the fork's process id. It exits with 0 if all is well."""
    pid = os.fork()
    if pid:
        return pid
    code = 2
    try:
        if quiet:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (1, 2):
                os.dup2(nowhere, stream)
        set_mutant_under_test(mutant)
        run()
        code = 0
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


class _EndAtFirstFailure:
    """Ends the process with the first test that fails, before anything is told of it, which would take longer."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        if call.excinfo is not None:
            os._exit(1)


class _Failures:
    """Notices a test that fails."""

    any = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.any = self.any or report.failed


def _pass(session: pytest.Session, tests: list[int]) -> bool:
    """Run tests; return whether all passed."""
    failures = _Failures()
    session.config.pluginmanager.register(failures)
    items: list[Any] = [session.items[number] for number in tests]
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    session.config.pluginmanager.unregister(failures)
    return not failures.any
