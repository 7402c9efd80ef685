"""Real nodes under real faults. `python -m tests.faults` measures; the tests here are its short version."""

import pytest

pytest.register_assert_rewrite("tests.faults.judge")
