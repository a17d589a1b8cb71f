"""Messages of running tests on the terminal."""

import sys
from collections.abc import Callable

import pytest


def terminal_of(config: pytest.Config) -> Callable[[str], None]:
    """Return a function that writes a line to the terminal, bypassing pytest's output capturing."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capturing = config.pluginmanager.get_plugin("capturemanager")

    def tell(line: str) -> None:
        if reporter is not None and capturing is not None:
            with capturing.global_and_fixture_disabled():
                if hasattr(config, "workerinput"):  # pytest-xdist leaves such a process only the terminal's stderr
                    print(f"\n{line}", file=sys.stderr, flush=True)  # noqa: T201
                else:
                    reporter.write_line(line)

    return tell
