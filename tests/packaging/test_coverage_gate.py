"""`make coverage` runs each test once, and fails where the package is reached less than pyproject.toml demands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DEMANDED = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]["report"]["fail_under"]
STATEMENTS = 200


def reported(directory: Path, percent: float) -> subprocess.CompletedProcess[str]:
    """The report on a package of which so much is reached, by the settings of this one."""
    package = directory / "django_hacache"
    package.mkdir()
    reached = round(STATEMENTS * percent / 100)
    (package / "__init__.py").touch()
    lines = ["x = 1"] * (reached - 1) + ["def never():"] + ["    y = 1"] * (STATEMENTS - reached)
    (package / "some.py").write_text("\n".join(lines))
    shutil.copy(ROOT / "pyproject.toml", directory)
    for command in (["run", "-m", "django_hacache.some"], ["combine"], ["report"]):
        ran = subprocess.run(
            [sys.executable, "-m", "coverage", *command],
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert command == ["report"] or ran.returncode == 0, ran.stdout + ran.stderr
    return ran


@pytest.mark.parametrize(("more", "fails"), [(-1, True), (1, False)], ids=["less", "more"])
def test_less_than_is_demanded_fails(tmp_path: Path, more: int, fails: bool) -> None:
    ran = reported(tmp_path, DEMANDED + more)
    assert (ran.returncode != 0) is fails, ran.stdout + ran.stderr
    assert ("Coverage failure" in ran.stdout + ran.stderr) is fails


def commands(target: str) -> list[str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")
    }
    ran = subprocess.run(
        ["make", "--dry-run", "--always-make", "PYTHON=python3", "RUN=python", target],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in ran.stdout.splitlines() if "pytest" in line or "-m coverage" in line]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_each_test_is_run_once_and_the_report_has_the_last_word() -> None:
    assert commands("test") == ["python -m pytest"]
    assert commands("coverage") == [
        "python -m coverage erase",
        "python -m coverage run -m pytest -m 'not untraced'",
        "python -m pytest -m untraced",
        "python -m coverage combine --quiet",
        "python -m coverage report",
    ]
    (gate,) = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if "coverage" in line]
    assert gate.startswith("make ")
    assert gate.endswith(" coverage")
