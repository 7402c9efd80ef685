"""A fuzzer that looks for new inputs, for a moment: the same ones each time. `make fuzz` does it for hours."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .harnesses import HARNESSES

RUNS = {"member": 100, "intake": 100, "frames": 100, "records": 60, "values": 3000, "pages": 1500}
ROOT = Path(__file__).parents[2]

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None and "HACACHE_REQUIRE_ALL_TESTS" not in os.environ,
    reason="needs atheris: pip install --group fuzz",
)


@needs_atheris
@pytest.mark.parametrize("harness", sorted(HARNESSES))
def test_nothing_is_found_in_a_few_inputs(harness, tmp_path):
    command = [sys.executable, "-m", "tests.fuzz", harness, "--runs", str(RUNS[harness]), "--seed", "1"]
    directories = ["--found", str(tmp_path / "found"), "--crashes", str(tmp_path)]
    ended = subprocess.run(
        [*command, *directories], check=False, cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert ended.returncode == 0, f"{ended.stdout[-2000:]}\n{ended.stderr[-6000:]}"
    assert f"Done {RUNS[harness]} runs" in ended.stderr
