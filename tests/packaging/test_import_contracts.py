"""Rooms import in one direction; the contracts are in pyproject.toml. What runs is held to them, too."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.node_process import NodeProcess, cluster_settings

ROOT = Path(__file__).resolve().parent.parent.parent
LINTER = Path(sysconfig.get_path("scripts")) / "lint-imports"


@pytest.mark.skipif(not LINTER.exists(), reason="import-linter is not installed")
def test_the_contracts_hold() -> None:
    ran = subprocess.run([LINTER, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


WITHOUT_DJANGO = """
import importlib, pkgutil, sys
import django_hacache
ROOMS = ("consensus", "link", "node", "replica", "system", "values", "wire")
for room in ROOMS:
    package = importlib.import_module(f"django_hacache.{room}")
    for module in pkgutil.walk_packages(package.__path__, f"django_hacache.{room}."):
        importlib.import_module(module.name)
# Of django.core.exceptions ConfigurationError is a subclass; it needs what is in django.utils.
allowed = ("django", "django.core", "django.core.exceptions", "django.utils")
loaded = {name for name in sys.modules if name.partition(".")[0] == "django"}
print(*(name for name in loaded if name not in allowed and not name.startswith("django.utils.")))
"""


def test_what_a_node_is_made_of_runs_without_django() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_DJANGO], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == []


WORKER = """
import asyncio, sys, django
django.setup()
from django.core.cache import cache
cache.set("a", 1)
assert cache.get("a") == 1
assert cache.incr("a") == 2
assert asyncio.run(cache.aget("a")) == 2
cache.set_many({"b": 1, "c": 2})
cache.clear()
from django_hacache import status
loaded = [name for name in sys.modules if name.split(".")[0] == "grpc" or name.startswith(
    ("django_hacache.node", "django_hacache.consensus"))]
assert not loaded, loaded
"""


def test_a_worker_of_a_cluster_that_used_its_cache_has_not_imported_grpc(tmp_path: Path) -> None:
    node = NodeProcess.start(tmp_path, "tests.cache.site")
    try:
        environment = {
            **os.environ,
            **cluster_settings(node.addr),
            "DJANGO_SETTINGS_MODULE": "tests.cache.site",
            "HACACHE_TEST_LOCATION": str(tmp_path),
        }
        subprocess.run([sys.executable, "-c", WORKER], check=True, cwd=ROOT, env=environment)
    finally:
        node.stop()
