"""A real Airflow that is lost, slow, hung or overrun; callers of dagcall see nothing of it but right answers."""

import pytest

pytest.register_assert_rewrite("tests.faults.record")
