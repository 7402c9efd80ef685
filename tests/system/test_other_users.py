"""Another user of the host, who makes the names of LOCATION first, or exchanges what has them, gets nothing opened."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.cache import caches

from django_hacache.exceptions import CacheUnavailable, HACacheError, ReplicaError
from django_hacache.link.address import SOCKET_NAME
from django_hacache.link.blocking import NodeClient
from django_hacache.replica.control import ControlPage
from django_hacache.replica.leased_reader import LeasedReader
from django_hacache.replica.replica import Replica
from django_hacache.system.platform import boottime_ns, monotonic
from django_hacache.system.safe_path import Unfit
from django_hacache.wire import cache_pb2 as pb
from django_hacache.worker import process
from tests.cache.site import BACKEND
from tests.node_process import cluster_settings
from tests.replica.writing import put
from tests.system.mallory import MALLORY, NEEDS_MALLORY, as_mallory, mallory

ROOT = Path(__file__).parents[2]
MAP_SIZE = 4 << 20

pytestmark = NEEDS_MALLORY


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory in which everybody may make names, as in /tmp and /dev/shm; it lies in one of them."""
    parent = Path(tempfile.mkdtemp(prefix="hacache-test-"))
    parent.chmod(0o1777)
    yield parent
    process.close()
    shutil.rmtree(parent)


class Trap:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.mark,))


def set_trap(location: Path, mark: Path) -> None:
    """What a node, or a standalone process, would leave there; its values are traps."""
    replica = Replica.open(location, writable=True, map_size=MAP_SIZE)
    for key in ("k", ":1:k"):
        put(replica, key, pickle.dumps(Trap(mark)))
    replica.close()
    page = ControlPage.create(location)
    page.grant(boottime_ns() + 3600 * 10**9)
    page.set_writable_until(boottime_ns() + 3600 * 10**9)
    page.close()


@pytest.fixture
def site(settings, shared):
    """The default cache at a LOCATION of the shared directory."""

    def site(location: Path, *, clustered: bool = False):
        settings.HACACHE = cluster_settings("127.0.0.1:1") if clustered else {}
        settings.CACHES = {"default": {"BACKEND": BACKEND, "LOCATION": str(location)}}
        return caches["default"]

    return site


def as_a_link(location: Path, theirs: Path) -> None:
    location.symlink_to(theirs)


def as_their_own(location: Path, theirs: Path) -> None:
    theirs.rename(location)


def below_a_link(location: Path, theirs: Path) -> None:
    location.parent.symlink_to(theirs.parent)


def below_their_own(location: Path, theirs: Path) -> None:
    location.parent.mkdir()
    theirs.rename(location)


@pytest.mark.parametrize("clustered", [False, True], ids=["standalone", "cluster"])
@pytest.mark.parametrize("way", [as_a_link, as_their_own, below_a_link, below_their_own])
def test_who_makes_the_name_first_gets_nothing_unpickled(site, shared, caplog, way, clustered):
    mark, theirs = shared / "mark", shared / "theirs" / "site"
    location = shared / "below" / "site" if "below" in way.__name__ else shared / "site"

    def prepare() -> None:
        set_trap(theirs, mark)
        way(location, theirs)

    as_mallory(prepare)
    cache = site(location, clustered=clustered)
    with pytest.raises(HACacheError) as caught:
        cache.get("k")
        cache.set("k", "v")
    told = "symbolic link" if "link" in way.__name__ else f"belongs to user {MALLORY}"
    assert told in str(caught.value) + caplog.text
    assert not mark.exists()


def test_a_directory_of_ours_in_one_of_another_user_is_not_used(shared):
    as_mallory(lambda: (shared / "theirs").mkdir(mode=0o755))
    location = shared / "theirs" / "site"
    for make in (False, True):
        if make:
            location.mkdir(mode=0o700)
        with pytest.raises(
            Unfit, match=f"{shared}/theirs belongs to user {MALLORY}, who could put another one"
        ):
            Replica.open(location, writable=True, map_size=MAP_SIZE)
        assert location.exists() == make


def test_the_refusal_says_whose_the_name_is_and_what_to_do(shared):
    location = shared / "site"
    as_mallory(lambda: location.mkdir(mode=0o700))
    with pytest.raises(
        ReplicaError, match=f"belongs to user {MALLORY}; user 0 is expected.*another LOCATION"
    ):
        Replica.open(location, writable=True, map_size=MAP_SIZE)


@pytest.mark.parametrize("way", [as_a_link, as_their_own])
def test_a_node_does_not_start_on_what_another_user_has_made(shared, way):
    location, theirs, mark = shared / "site", shared / "theirs" / "site", shared / "mark"

    def prepare() -> None:
        set_trap(theirs, mark)
        way(location, theirs)

    as_mallory(prepare)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in location.iterdir())
    code = (
        "import django; from django.conf import settings; "
        f"settings.configure(HACACHE={cluster_settings('127.0.0.1:1')!r}, INSTALLED_APPS=['django_hacache'], "
        f"CACHES={{'default': {{'BACKEND': {BACKEND!r}, 'LOCATION': {str(location)!r}}}}}); django.setup(); "
        "from django.core.management import call_command; call_command('hacache_node')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert f"the replica's directory {location} " in done.stderr
    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in location.iterdir())


def test_a_reader_that_held_a_directory_does_not_open_the_one_that_another_user_has_made_since(shared, later):
    location, mark = shared / "site", shared / "mark"
    writer = Replica.open(location, writable=True, map_size=MAP_SIZE)
    put(writer, ":1:k", b"ours")
    writer.close()
    page = ControlPage.create(location)
    page.grant(boottime_ns() + 3600 * 10**9)
    reader = LeasedReader(location, map_size=MAP_SIZE)
    assert reader.get("default", ":1:k") == b"ours"
    shutil.rmtree(location)
    as_mallory(lambda: set_trap(location, mark))
    page.revoke()
    page.grant(boottime_ns() + 3600 * 10**9)  # in a new epoch it looks at the path again
    later()
    assert reader.get("default", ":1:k") is None
    assert f"belongs to user {MALLORY}" in reader.trouble
    reader.close()
    page.close()


def test_a_writer_that_held_a_directory_does_not_open_the_one_that_another_user_has_made_since(shared, later):
    location, mark = shared / "site", shared / "mark"
    writer = Replica.open(location, writable=True, map_size=MAP_SIZE)
    put(writer, ":1:k", b"ours")
    shutil.rmtree(location)
    as_mallory(lambda: set_trap(location, mark))
    later()
    for _ in range(2):  # nor does it go on in a file that no other process finds
        with pytest.raises(Unfit, match=f"belongs to user {MALLORY}"):
            put(writer, ":1:k", b"lost")
    writer.close()


def test_nobody_talks_to_a_process_of_another_user(shared):
    """The socket is ours by its looks: it was bound before the directory was closed, and given away."""
    location = shared / "site"
    location.mkdir()
    location.chmod(0o777)
    ready, told = os.pipe()

    def listen() -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(location / SOCKET_NAME))
        listener.listen()
        os.write(told, b"x")
        connection, _ = listener.accept()
        if connection.recv(1000):
            (shared / "heard").touch()

    with mallory(listen):
        assert os.read(ready, 1) == b"x"
        os.chown(location / SOCKET_NAME, 0, 0)
        location.chmod(0o700)
        with pytest.raises(CacheUnavailable, match=f"a process of user {MALLORY} listens on {location}"):
            NodeClient(location / SOCKET_NAME).request(pb.CacheRequest(), deadline=monotonic() + 20)
    os.close(ready)
    os.close(told)
    assert not (shared / "heard").exists()
