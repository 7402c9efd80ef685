"""Generate django_hacache/wire from cache.proto: `make proto`.

The modules are registered under their full path and in a descriptor pool of their own. So neither a file
`cache.proto` nor a package `cache` of somebody else in the same process can collide with them.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
VIRTUAL = "django_hacache/wire"
SHARED_POOL = "_descriptor_pool.Default()"
OWN_POOL = "_descriptor_pool.DescriptorPool()"


def generate(target: Path) -> None:
    """Write the modules and stubs below `target`, as django_hacache/wire/cache_pb2*.py[i]."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    stubs = Path(sysconfig.get_path("scripts")) / "protoc-gen-mypy"
    arguments = [
        "protoc",
        f"-I{VIRTUAL}={ROOT / 'proto'}",
        f"-I{well_known}",
        f"--plugin=protoc-gen-mypy={stubs}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out={target}",
        f"{VIRTUAL}/cache.proto",
    ]
    if status := protoc.main(arguments):
        raise SystemExit(status)
    module = target / VIRTUAL / "cache_pb2.py"
    text = module.read_text()
    if text.count(SHARED_POOL) != 1:
        raise SystemExit(f"{module}: expected {SHARED_POOL} once; this protoc writes something else")
    module.write_text(text.replace(SHARED_POOL, OWN_POOL))


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
