"""The generated modules under django_hacache/wire are what proto/cache.proto says."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
GENERATED = ("cache_pb2.py", "cache_pb2.pyi", "cache_pb2_grpc.py")

PINS = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["proto"]


def installed(pin: str) -> bool:
    package, pinned = pin.split("==")
    try:
        return version(package) == pinned
    except PackageNotFoundError:
        return False


needs_generator = pytest.mark.skipif(
    not all(map(installed, PINS)) and not os.environ.get("HACACHE_REQUIRE_ALL_TESTS"),
    reason="the generator of the dependency group proto is not installed",
)


@needs_generator
def test_the_generated_modules_are_those_of_cache_proto(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "proto" / "generate.py"), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    for name in GENERATED:
        fresh = (tmp_path / "django_hacache" / "wire" / name).read_text()
        assert (ROOT / "django_hacache" / "wire" / name).read_text() == fresh, f"{name} is stale: make proto"


def test_another_cache_proto_in_the_same_process_does_not_collide() -> None:
    script = """
from google.protobuf import descriptor_pb2, descriptor_pool
for name in ("cache.proto", "django_hacache/wire/cache.proto"):
    other = descriptor_pb2.FileDescriptorProto(name=name, package="cache", syntax="proto3")
    other.message_type.add(name="Get" if name == "cache.proto" else "Put")
    descriptor_pool.Default().Add(other)
from django_hacache.wire import cache_pb2
assert cache_pb2.Get(entry="k").entry == "k"
assert descriptor_pool.Default().FindMessageTypeByName("cache.Get").fields == []
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
