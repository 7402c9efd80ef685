"""Who serves a directory."""

from __future__ import annotations

import fcntl
import os
import time

import pytest

from django_hacache.replica import node_lock
from django_hacache.replica.node_lock import Occupied, ensure_unoccupied, occupying


def test_a_second_node_is_told_which_process_is_the_first(tmp_path):
    with occupying(tmp_path), pytest.raises(Occupied, match=str(os.getpid())), occupying(tmp_path):
        pass


def test_who_only_looks_keeps_no_node_from_starting(tmp_path, monkeypatch):
    with occupying(tmp_path):
        pass
    looking = os.open(tmp_path / node_lock.LOCK_NAME, os.O_RDONLY)
    fcntl.lockf(looking, fcntl.LOCK_SH, 1)
    monkeypatch.setattr(time, "sleep", lambda seconds: os.close(looking))
    with occupying(tmp_path):
        pass


def test_a_directory_is_free_before_and_after_a_node(tmp_path):
    ensure_unoccupied(tmp_path)
    with occupying(tmp_path), pytest.raises(Occupied):
        ensure_unoccupied(tmp_path)
    ensure_unoccupied(tmp_path)
    with occupying(tmp_path):
        pass
