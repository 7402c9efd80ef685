from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from django_hacache.conf import location
from django_hacache.conf.location import default_location

ROOT = Path(__file__).resolve().parents[2]
PRINT_LOCATION = "from django_hacache.conf.location import default_location; print(default_location())"


def located(directory: Path, settings_module: str = "tests.settings") -> str:
    """The default location as a process of its own sees it, started in `directory`."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": settings_module,
        "PYTHONPATH": f"{ROOT}:{ROOT}/tests",
    }
    done = subprocess.run(
        [sys.executable, "-c", PRINT_LOCATION],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_process_of_a_project_has_the_same_location_wherever_it_starts(tmp_path: Path) -> None:
    assert located(tmp_path) == located(ROOT) == str(default_location())


def test_another_settings_module_has_another_location(tmp_path: Path) -> None:
    assert located(tmp_path, "settings") != located(tmp_path)


def test_another_project_has_another_location(settings: Any, tmp_path: Path) -> None:
    before = default_location()
    settings.BASE_DIR = tmp_path
    assert default_location() != before


def test_overriding_a_setting_does_not_move_the_cache(settings: Any) -> None:
    before = default_location()
    settings.DEBUG = True
    assert default_location() == before


def test_without_a_base_directory_the_settings_module_tells_projects_apart(settings: Any) -> None:
    settings.BASE_DIR = None
    assert location.project_directory() == ROOT / "tests"


def test_another_user_has_another_location(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    assert default_location().name.startswith("django_hacache-4242-")


def test_the_location_is_in_the_temporary_directory_where_there_is_no_tmpfs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(location, "SHARED_MEMORY", tmp_path / "no-such-directory")
    assert default_location().parent == Path(tempfile.gettempdir())


def test_reading_the_configuration_imports_neither_grpc_nor_the_backend() -> None:
    code = (
        "import sys; from django_hacache.conf import cluster, location, options, rules; cluster.cluster_config(); "
        "options.cache_options('default', '', {}); options.node_caches(location.default_location()); "
        "rules.find_problems(); "
        "assert not {'grpc', 'lmdb', 'django_hacache.cache'} & set(sys.modules)"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_site_without_a_settings_module_has_a_default_location_too(tmp_path: Path) -> None:
    code = (
        "from django.conf import settings; "
        "settings.configure(CACHES={'default': {'BACKEND': 'django_hacache.cache.HACache'}}); "
        "from django_hacache.conf.options import cache_options; print(cache_options('default', '', {}).location)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).name.startswith(f"django_hacache-{os.getuid()}-")
