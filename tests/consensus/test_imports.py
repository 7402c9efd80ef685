"""The core is pure: nothing that reads a clock, opens a socket or knows Django is behind its imports."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

from django_hacache import consensus

IMPURE = ("asyncio", "socket", "selectors", "grpc", "google", "django", "lmdb", "random", "ssl")


def test_the_core_imports_no_transport_no_clock_no_django_and_no_other_room():
    modules = [
        module.name for module in pkgutil.walk_packages(consensus.__path__, "django_hacache.consensus.")
    ]
    program = f"import sys, {', '.join(modules)}; print(*sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True)
    loaded = ran.stdout.split()
    assert [name for name in loaded if name.partition(".")[0] in IMPURE] == []
    ours = [name for name in loaded if name.startswith("django_hacache.")]
    assert [name for name in ours if not name.startswith("django_hacache.consensus")] == []
