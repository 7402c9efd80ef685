"""Who may read and write what a location has: this user alone, whatever was there before."""

from __future__ import annotations

import os
import stat

import pytest

from django_hacache.exceptions import ReplicaError
from tests.replica.writing import open_replica


def test_directory_and_files_are_for_this_user_only_whatever_the_umask(directory):
    before = os.umask(0)
    try:
        replica = open_replica(directory)
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {
        "replica.lmdb": 0o600,
        "replica.lmdb-lock": 0o600,
        "replica.members": 0o600,
    }
    replica.close()


def test_a_directory_that_others_can_read_is_tightened(directory):
    directory.mkdir(mode=0o755)
    open_replica(directory).close()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_directory_that_others_use_is_left_as_it_is(directory):
    """As root LOCATION may be "/" by mistake: closing it would shut everybody out of the machine."""
    directory.mkdir(mode=0o755)
    (directory / "static").mkdir()
    with pytest.raises(
        ReplicaError, match=rf"{directory} is open to other users \(mode 0755\) and not empty"
    ):
        open_replica(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755
    assert [path.name for path in directory.iterdir()] == ["static"]


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_directory_that_others_can_write_to_is_refused(directory, mode, writable):
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(ReplicaError, match=f"{directory}.*writable by other"):
        open_replica(directory, writable=writable)


@pytest.mark.parametrize("writable", [True, False])
def test_a_symbolic_link_is_refused(directory, writable):
    target = directory.parent / "target"
    target.mkdir(mode=0o700)
    directory.symlink_to(target)
    with pytest.raises(ReplicaError, match=f"{directory} is a symbolic link"):
        open_replica(directory, writable=writable)


def test_a_file_in_the_directorys_place_is_refused(directory):
    directory.write_text("")
    with pytest.raises(ReplicaError, match=f"{directory} is not a directory"):
        open_replica(directory)


@pytest.mark.parametrize("writable", [True, False])
def test_a_directory_of_somebody_else_is_refused(directory, monkeypatch, writable):
    directory.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ReplicaError, match=f"{directory} belongs to user"):
        open_replica(directory, writable=writable)


def test_reading_where_nothing_is_names_the_directory(directory):
    with pytest.raises(ReplicaError, match=str(directory)):
        open_replica(directory, writable=False)
