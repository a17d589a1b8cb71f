"""Fixtures for tests that run in one process, without a network."""

from tests.support.collected import collected
from tests.support.in_memory import clean_environ, no_back_off, pytest_asyncio_loop_factories, served

__all__ = ["clean_environ", "collected", "no_back_off", "pytest_asyncio_loop_factories", "served"]
