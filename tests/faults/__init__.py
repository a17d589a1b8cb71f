"""A real Airflow that is unreachable, slow, hung or overloaded: callers of dagcall still get correct answers."""

import pytest

pytest.register_assert_rewrite("tests.faults.record")
