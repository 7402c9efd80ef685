from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_hacache.conf import rules
from tests.conf import CLUSTER


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the package is set when a test begins."""
    for name in list(os.environ):
        if name.startswith(("HA_", "CACHE_")) or name == "HOSTNAME_OVERWRITE":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every directory is in memory, wherever the temporary ones of this machine are."""
    monkeypatch.setattr(rules, "file_system_of", lambda path: "tmpfs")


@pytest.fixture
def cluster(settings: Any) -> Callable[..., None]:
    """Sets settings.HACACHE to a cluster that is right, but for the given keys; None removes a key."""

    def configure(**changes: object) -> None:
        merged = {**CLUSTER, **changes}
        settings.HACACHE = {key: value for key, value in merged.items() if value is not None}

    return configure


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "some.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nMAo=\n-----END CERTIFICATE-----\n")
    return path
