from __future__ import annotations

import pytest

from django_hacache.replica.replica import Replica


@pytest.fixture
def copy(tmp_path):
    replica = Replica.open(tmp_path / "copy", writable=True, map_size=64 << 20, keeps_journal=True)
    yield replica
    replica.close()
