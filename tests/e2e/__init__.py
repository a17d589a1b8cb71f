"""Tests of dagcall in separate processes, with a real Airflow or the fake on a real socket."""

import pytest

pytest.register_assert_rewrite("tests.e2e.clients")
