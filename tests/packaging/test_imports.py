"""What a web worker imports: gRPC and fork() do not mix, so a worker never has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
