"""Another user of the host, who exchanges what has the names of LOCATION again and again, gets nothing opened."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from pathlib import Path

import pytest

from django_hacache.exceptions import HACacheError, ReplicaError
from django_hacache.node.storage.reserve import Reserve
from django_hacache.replica.control import ControlPage
from django_hacache.replica.leased_reader import LeasedReader
from django_hacache.replica.node_lock import ensure_unoccupied, occupying
from django_hacache.replica.replica import Replica
from django_hacache.system.platform import boottime_ns
from django_hacache.worker import process
from tests.replica.writing import put
from tests.system.mallory import NEEDS_MALLORY, as_mallory, mallory

MAP_SIZE = 4 << 20
AT_FDCWD, RENAME_EXCHANGE = -100, 2
RACE_S = 1

pytestmark = NEEDS_MALLORY


def exchange_for_ever(one: Path, other: Path) -> None:
    renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    names = os.fsencode(one), os.fsencode(other)
    while True:
        if renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE):
            os._exit(1)
        time.sleep(0)


@pytest.fixture
def volume(tmp_path):
    """A file system that is open to everybody and has no sticky bit, as volumes of containers are."""
    mount = tmp_path / "volume"
    mount.mkdir()
    # Everybody has to reach it.
    for parent in (tmp_path, *tmp_path.parents):
        if parent != Path("/") and parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(0o711)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m,mode=0777", "t", mount],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = f"a tmpfs cannot be mounted here: {done.stderr.strip()}"
        if os.environ.get("HACACHE_REQUIRE_ALL_TESTS"):
            pytest.fail(reason)
        pytest.skip(reason)
    yield mount
    process.close()
    subprocess.run(["umount", "-l", mount], check=True)


def opened_replica(location: Path, *, writable: bool) -> None:
    replica = Replica.open(location, writable=writable, map_size=MAP_SIZE)
    value = replica.get("default", ":1:k")
    replica.close()
    assert value == b"ours"


def read_under_the_lease(location: Path) -> None:
    reader = LeasedReader(location, map_size=MAP_SIZE)
    value = reader.get("default", ":1:k")
    reader.close()
    if value is None:
        raise ReplicaError(reader.trouble)
    assert value == b"ours"


def page_of_ours(location: Path) -> None:
    page = ControlPage.open(location)
    assert page is None or page.since[0] == 4711
    if page is not None:
        page.close()


def held(location: Path) -> None:
    with occupying(location):
        pass


def reserved(location: Path) -> None:
    reserve = Reserve(location)
    reserve.fill()
    reserve.release()


def as_it_is(directory: int) -> list[tuple[str, int, int]]:
    """What is in a directory, and when each of it was changed."""
    with os.scandir(directory) as entries:
        return sorted((entry.name, entry.stat().st_mtime_ns, entry.stat().st_ctime_ns) for entry in entries)


RACES = {
    "writing": lambda location: opened_replica(location, writable=True),
    "reading": lambda location: opened_replica(location, writable=False),
    "lease": read_under_the_lease,
    "page": page_of_ours,
    "lock": held,
    "look": ensure_unoccupied,
    "reserve": reserved,
}


@pytest.mark.parametrize("as_link", [False, True], ids=["their own", "a link to theirs"])
@pytest.mark.parametrize("below", ["", "site"], ids=["the last step", "a step on the way"])
def test_nothing_of_others_is_opened_while_they_exchange_the_directories(volume, below, as_link):
    ours, other, theirs = volume / "ours", volume / "other", volume / "theirs"
    location = ours / below
    replica = Replica.open(location, writable=True, map_size=MAP_SIZE)
    put(replica, ":1:k", b"ours")
    page = ControlPage.create(location)
    page.grant(boottime_ns() + 3600 * 10**9)
    page.note_applied(4711, 1)
    with occupying(location):
        pass

    def prepare() -> None:
        replica = Replica.open(theirs / below, writable=True, map_size=MAP_SIZE)
        put(replica, ":1:k", b"theirs")
        replica.close()
        page = ControlPage.create(theirs / below)
        page.grant(boottime_ns() + 3600 * 10**9)
        page.close()
        # Nothing but the checks of ours would keep root out of it.
        for path in (theirs / below).iterdir():
            path.chmod(0o777)
        if as_link:
            other.symlink_to(theirs)
        else:
            theirs.rename(other)

    as_mallory(prepare)
    replica.close()
    watched = os.open((theirs if as_link else other) / below, os.O_RDONLY)
    before = as_it_is(watched)
    served, refused = dict.fromkeys(RACES, 0), dict.fromkeys(RACES, 0)
    with mallory(lambda: exchange_for_ever(ours, other)):
        deadline = time.monotonic() + RACE_S
        while time.monotonic() < deadline or not (all(served.values()) and all(refused.values())):
            assert time.monotonic() < deadline + 20 * RACE_S, (served, refused)
            for one, attempt in RACES.items():
                try:
                    attempt(location)
                except HACacheError:  # a sentence each time, whatever the system says of it
                    refused[one] += 1
                else:
                    served[one] += 1
    assert before == as_it_is(watched)
    os.close(watched)
    page.close()
