"""Against a real Airflow, or a real socket: dagcall in processes of its own."""

import pytest

pytest.register_assert_rewrite("tests.e2e.clients")
