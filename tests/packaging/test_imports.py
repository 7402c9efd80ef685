"""What a web worker imports: never gRPC, which does not mix with fork(), and nothing before it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.node_process import cluster_settings

ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_site_with_the_admin_and_a_used_cache_never_imports_grpc(tmp_path: Path) -> None:
    script = """
import sys
import django
django.setup()
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
call_command("check")
cache.set("a", 1)
assert cache.get("a") == 1
assert Client().get("/admin/").status_code == 302
import django_hacache.admin, django_hacache.status
loaded = sorted(name for name in sys.modules if name.split(".")[0] == "grpc" or "hacache.node" in name)
assert not loaded, loaded
"""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "HACACHE_TEST_LOCATION": str(tmp_path),
    }
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, env=environment)


USED = """
import sys
import django
django.setup()
from django.core.cache import cache
cache.get("a")
cache.get_many(["a", "b"])
if {standalone}:
    cache.set("a", 1)
    cache.incr("a")
loaded = sorted(name for name in sys.modules if name.startswith(("google.protobuf", "django_hacache.wire")))
assert not loaded, loaded
"""


def test_a_worker_without_a_cluster_never_imports_protobuf(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "HACACHE_TEST_LOCATION": str(tmp_path),
    }
    script = USED.format(standalone=True)
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, env=environment)


def test_a_worker_of_a_cluster_does_not_import_protobuf_before_it_writes(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        **cluster_settings("127.0.0.1:1"),
        "DJANGO_SETTINGS_MODULE": "tests.cache.site",
        "HACACHE_TEST_LOCATION": str(tmp_path),
    }
    script = USED.format(standalone=False)
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, env=environment)
