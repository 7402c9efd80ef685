"""Caches that are served: by nobody but the workers, or by a node that a test may kill."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from django_hacache.exceptions import CacheUnavailable
from tests.node_process import serves
from tests.waiting import eventually


@dataclass
class Served:
    """A location, and the settings of the cluster that serves it."""

    location: Path
    hacache: dict[str, str]


class SmallNodeProcess:
    """tests.cache.small_node, started and stopped by a test."""

    def __init__(self, location: Path) -> None:
        self.location = location
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "tests.cache.small_node", str(self.location)])
        eventually(lambda: serves(self.location))

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def empty(caches: Iterable[Any]) -> None:
    """Clear every alias. The circuit breaker may still be open from the test before."""
    for alias in caches:
        eventually(partial(_is_cleared, caches, alias))


def _is_cleared(caches: Any, alias: str) -> bool:
    try:
        caches[alias].clear()
    except CacheUnavailable:
        return False
    return True
