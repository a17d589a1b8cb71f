"""What tests tell whoever runs them, while they run."""

from collections.abc import Callable

import pytest


def terminal_of(config: pytest.Config) -> Callable[[str], None]:
    """Return what writes a line on the terminal, past the capturing of output that goes on during tests."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capturing = config.pluginmanager.get_plugin("capturemanager")

    def tell(line: str) -> None:
        if reporter is not None and capturing is not None:
            with capturing.global_and_fixture_disabled():
                reporter.write_line(line)

    return tell
