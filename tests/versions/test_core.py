"""Tests of tests/e2e, unchanged, on older versions of Airflow."""

import pytest

from tests.e2e.test_arguments import *  # noqa: F403
from tests.e2e.test_demo_calls import *  # noqa: F403
from tests.e2e.test_failures import *  # noqa: F403
from tests.e2e.test_large_results import *  # noqa: F403
from tests.e2e.test_people import *  # noqa: F403
from tests.e2e.test_results import *  # noqa: F403

pytestmark = pytest.mark.long
