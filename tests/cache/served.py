"""Caches that are served: by nobody but the workers, or by a node that a test may kill."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from django.conf import settings

from django_hacache.changes.vocabulary import Clear
from django_hacache.conf import AckLevel
from django_hacache.exceptions import CacheUnavailable
from django_hacache.system.platform import monotonic
from django_hacache.worker.writer import Writer
from tests.cache.raw import setup_of
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


def empty() -> None:
    """Clear every cache. The circuit breaker may still be open from the test before.

    With the options of one alias: to read the settings of each takes longer than most tests.
    """
    one = setup_of("default")
    names = {entry.get("OPTIONS", {}).get("CACHE_NAME", alias) for alias, entry in settings.CACHES.items()}
    for name in names:
        eventually(partial(_is_cleared, replace(one, options=replace(one.options, name=name)).writer))


def _is_cleared(writer: Writer) -> bool:
    try:
        writer.perform(Clear(), ack=AckLevel.QUORUM, deadline=monotonic() + 5)
    except CacheUnavailable:
        return False
    return True
