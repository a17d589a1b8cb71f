"""Fixtures for tests that stay within this process."""

from tests.support.in_memory import clean_environ, no_back_off, pytest_asyncio_loop_factories, served

__all__ = ["clean_environ", "no_back_off", "pytest_asyncio_loop_factories", "served"]
