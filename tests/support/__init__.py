"""What several packages of tests share."""

import pytest

pytest.register_assert_rewrite("tests.support.clients")
