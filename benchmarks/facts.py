"""What a reader has to know of the machine and the programs to judge the figures."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version

from benchmarks.subprocesses import program

PACKAGES = (
    *("django-hacache", "django", "lmdb", "grpcio", "protobuf", "uvloop"),
    *("django-redis", "redis", "hiredis", "pymemcache", "pylibmc", "diskcache"),
)


def facts() -> dict[str, str | int]:
    """Versions by name, and what the machine has."""
    return {
        "cores": os.cpu_count() or 0,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "Linux": ".".join(platform.release().split(".")[:2]),
        platform.python_implementation(): platform.python_version(),
        "redis-server": _version(program("redis-server", "redis-server"), "--version"),
        "memcached": _version(program("memcached", "memcached"), "-V"),
        **{package: version(package) for package in PACKAGES},
    }


def _version(path: str, option: str) -> str:
    told = subprocess.run([path, option], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = re.search(r"\d+\.\d+\.\d+", told)
    return found[0] if found else told.strip()
