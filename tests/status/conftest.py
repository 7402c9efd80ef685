from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_hacache.worker import process
from tests.status.answering import CLUSTER


@pytest.fixture
def location(settings: Any) -> Iterator[Path]:
    # pytest's own directories can be too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="status-") as directory:
        settings.CACHES = {"default": {"BACKEND": "django_hacache.cache.HACache", "LOCATION": directory}}
        process.forget()
        yield Path(directory)
        process.close()


@pytest.fixture
def cluster(settings: Any, location: Path) -> Path:
    """The location of a host of a three-node cluster whose node does not run."""
    settings.HACACHE = CLUSTER
    return location


@pytest.fixture
def standalone(settings: Any, location: Path) -> Path:
    settings.HACACHE = {"HA_MODE": False}
    return location
