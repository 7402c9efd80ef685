"""What `make wheel` looks for: every file of the package is in the wheel, and nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).resolve().parents[2] / ".ci" / "wheel.py"


@pytest.fixture(scope="module")
def wheel() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wheel", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_file_that_was_left_out_is_missed(wheel: ModuleType) -> None:
    package = wheel.files_of_package()
    assert "django_hacache/py.typed" in package
    assert wheel.differences(package - {"django_hacache/py.typed"}, package) == [
        "django_hacache/py.typed is missing"
    ]


def test_a_test_in_the_wheel_does_not_belong_there(wheel: ModuleType) -> None:
    package = wheel.files_of_package()
    assert wheel.differences(package | {"tests/settings.py"}, package) == [
        "tests/settings.py does not belong there"
    ]


def test_the_files_of_the_package_are_what_is_expected(wheel: ModuleType) -> None:
    package = wheel.files_of_package()
    assert not any(name.endswith(".pyc") for name in package)
    assert wheel.differences(package, package) == []
