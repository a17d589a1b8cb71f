"""How tests are shared out among several processes (pytest-xdist)."""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling


class ByFolder(LoadScopeScheduling):
    """Gives a folder of tests to one process, so that its Airflow is started once."""

    def _split_scope(self, nodeid: str) -> str:
        """Return `tests/e2e` of `tests/e2e/test_cli.py::test_this[that]`."""
        return "/".join(nodeid.split("/")[:2])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Share tests out by folders where `--dist loadscope` is asked for."""
    return ByFolder(config, log) if config.getvalue("dist") == "loadscope" else None
