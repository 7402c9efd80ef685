"""The way to LOCATION, and what lies in it: opened where it is this user's alone, and refused otherwise."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from django_hacache.exceptions import HACacheError, ReplicaError
from django_hacache.link.address import SOCKET_NAME
from django_hacache.link.blocking import NodeClient
from django_hacache.node.storage.reserve import Reserve
from django_hacache.replica.control import ControlPage
from django_hacache.replica.node_lock import LOCK_NAME, ensure_unoccupied, occupying
from django_hacache.replica.opening import NAME as MEMBERS_NAME
from django_hacache.replica.pair import FILE_NAME, LOCKS_NAME
from django_hacache.replica.replica import Replica
from django_hacache.system import directory as directories
from django_hacache.system.directory import ensure_private, flaw_of, open_private
from django_hacache.system.platform import monotonic
from django_hacache.system.safe_path import NoDirectory, Unfit, real
from django_hacache.wire import cache_pb2 as pb

MAP_SIZE = 4 << 20


@pytest.fixture(autouse=True)
def _no_descriptor_is_left_open():
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_and_close(path: Path) -> None:
    open_private(path).close()


# the way


def test_missing_parents_are_made_for_this_user_only(tmp_path):
    before = os.umask(0)
    try:
        ensure_private(tmp_path / "a" / "b" / "location").close()
    finally:
        os.umask(before)
    assert [mode_of(tmp_path / name) for name in ("a", "a/b", "a/b/location")] == [0o700] * 3


def test_looking_makes_nothing(tmp_path):
    with pytest.raises(NoDirectory, match=f"{tmp_path}/a/location cannot be used: No such file"):
        open_and_close(tmp_path / "a" / "location")
    assert list(tmp_path.iterdir()) == []


def test_a_link_on_the_way_that_nobody_else_could_have_made_is_followed(tmp_path):
    (tmp_path / "run" / "site").mkdir(parents=True, mode=0o700)
    (tmp_path / "absolute").symlink_to(tmp_path / "run")
    (tmp_path / "run" / "relative").symlink_to("../absolute/site/..")
    with (
        open_private(tmp_path / "run" / "site") as real,
        open_private(tmp_path / "absolute" / "site") as one,
        open_private(tmp_path / "run" / "relative" / "site") as other,
    ):
        assert os.path.sameopenfile(real.descriptor, one.descriptor)
        assert os.path.sameopenfile(real.descriptor, other.descriptor)


def put_link(path):
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("name", "put"), [("link", Path.mkdir), ("location", put_link), ("location", Path.touch)]
)
def test_a_step_that_is_exchanged_while_it_is_looked_at_is_refused_in_a_sentence(
    tmp_path, monkeypatch, name, put
):
    (tmp_path / "real" / "location").mkdir(parents=True, mode=0o700)
    (tmp_path / "link").symlink_to("real")
    exchanged = tmp_path / "link" if name == "link" else tmp_path / "real" / "location"
    stat_of = os.stat

    def looked_at(path, **kwargs):
        found = stat_of(path, **kwargs)
        if path == name:
            exchanged.rename(tmp_path / "before")
            put(exchanged)
        return found

    monkeypatch.setattr(os, "stat", looked_at)
    with pytest.raises(Unfit, match=rf"{tmp_path}\S* was exchanged while it was looked at"):
        open_and_close(tmp_path / "link" / "location")


def test_names_of_one_directory_are_found_to_be_the_same(tmp_path):
    (tmp_path / "real" / "below").mkdir(parents=True)
    (tmp_path / "file").touch()
    for link, target in {
        "relative": "real",
        "absolute": tmp_path / "real",
        "up": "real/below/../..",
        "chain": "up/relative",
        "dangling": "nowhere/at/all",
        "real/below/root": "/",
    }.items():
        (tmp_path / link).symlink_to(target)
    for name in (
        *("real", "relative/below", "absolute/../relative", "up/file", "chain/below", "missing/below"),
        *("dangling/below", "relative/below/root/tmp", "file/below", "..", "../../../../.."),
    ):
        assert real(tmp_path / name) == os.path.realpath(tmp_path / name), name
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    assert real(tmp_path / "one" / "below").startswith(str(tmp_path))
    assert real("a/../b") == os.path.realpath("b")


def test_links_that_lead_nowhere_end(tmp_path):
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    with pytest.raises(Unfit, match="lead nowhere"):
        open_and_close(tmp_path / "one" / "location")


@pytest.mark.parametrize("mode", [0o1777, 0o777, 0o770])
def test_a_link_where_others_may_make_links_is_not_followed(tmp_path, mode):
    shared = tmp_path / "shared"
    shared.mkdir()
    (tmp_path / "real" / "location").mkdir(parents=True, mode=0o700)
    (shared / "link").symlink_to(tmp_path / "real")
    os.chown(shared, -1, 4242) if os.geteuid() == 0 else None
    shared.chmod(mode)
    with pytest.raises(Unfit, match=f"{shared}(/link is a symbolic link| is writable by other)"):
        open_and_close(shared / "link" / "location")


def test_a_parent_that_others_may_write_to_needs_the_sticky_bit(tmp_path):
    shared = tmp_path / "shared"
    (shared / "location").mkdir(parents=True, mode=0o700)
    shared.chmod(0o777)
    for call in (open_and_close, ensure_private):
        with pytest.raises(Unfit, match=rf"{shared} is writable by other users \(mode 0777\).*sticky"):
            call(shared / "location")
    assert f"{shared} is writable by other users" in flaw_of(shared / "location")
    shared.chmod(0o1777)
    open_and_close(shared / "location")
    assert flaw_of(shared / "location") == ""


def test_a_parent_that_a_group_may_write_to_is_fit_where_nobody_else_is_in_the_group(tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    (shared / "location").mkdir(parents=True, mode=0o700)
    shared.chmod(0o770)
    members: list[str] = []
    group = shared.stat().st_gid or 4242
    if os.geteuid() == 0:
        os.chown(shared, -1, group)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name="dev", pw_gid=group))
    monkeypatch.setattr(grp, "getgrgid", lambda gid: SimpleNamespace(gr_name="dev", gr_mem=members))
    open_and_close(shared / "location")
    members.append("mallory")
    with pytest.raises(Unfit, match=f"{shared} is writable by other"):
        open_and_close(shared / "location")


@pytest.mark.parametrize("kind", ["file", "link", "fifo"])
def test_what_is_no_directory_is_refused(tmp_path, kind):
    location = tmp_path / "location"
    match kind:
        case "file":
            location.touch()
        case "link":
            location.symlink_to(tmp_path)
        case _:
            os.mkfifo(location)
    expected = "is a symbolic link" if kind == "link" else "is not a directory"
    for call in (open_and_close, ensure_private):
        with pytest.raises(Unfit, match=f"{location} {expected}"):
            call(location)
        if kind != "link":
            with pytest.raises(Unfit, match=f"{location} is not a directory"):
                call(location / "below")


# what is in it


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "elsewhere")


def make_hard_link(path: Path) -> None:
    elsewhere = path.parent.parent / "elsewhere"
    elsewhere.write_bytes(b"of somebody")
    os.link(elsewhere, path)


def make_open_file(path: Path) -> None:
    path.touch()
    path.chmod(0o666)


def make_directory(path: Path) -> None:
    path.mkdir()


def make_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError as error:
        if os.environ.get("HACACHE_REQUIRE_ALL_TESTS"):
            raise
        pytest.skip(f"a device cannot be made here: {error}")


def make_file_of_another(path: Path) -> None:
    path.touch()
    try:
        os.chown(path, 65534, 65534)
    except PermissionError as error:
        if os.environ.get("HACACHE_REQUIRE_ALL_TESTS"):
            raise
        pytest.skip(f"no file can be given to another user here: {error}")


STRANGE = {
    "a FIFO": make_fifo,
    "a symbolic link": make_link,
    "a hard link": make_hard_link,
    "writable by other users": make_open_file,
    "a directory": make_directory,
    "a device": make_device,
    "belongs to user 65534": make_file_of_another,
}


def write(location: Path) -> None:
    Replica.open(location, writable=True, map_size=MAP_SIZE).close()


def read(location: Path) -> None:
    Replica.open(location, writable=False, map_size=MAP_SIZE).close()


def look_at_the_page(location: Path) -> None:
    page = ControlPage.open(location)
    if page is not None:
        page.close()


def hold(location: Path) -> None:
    with occupying(location):
        pass


def connect(location: Path) -> None:
    NodeClient(location / SOCKET_NAME).request(pb.CacheRequest(), deadline=monotonic() + 20)


OPENERS = [
    (FILE_NAME, write),
    (FILE_NAME, read),
    (LOCKS_NAME, write),
    (LOCKS_NAME, read),
    (MEMBERS_NAME, write),
    ("control", lambda location: ControlPage.create(location).close()),
    ("control", look_at_the_page),
    (LOCK_NAME, hold),
    (LOCK_NAME, ensure_unoccupied),
    ("reserve", lambda location: Reserve(location).fill()),
    (SOCKET_NAME, connect),
]


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize(
    ("name", "opens"), OPENERS, ids=[f"{number}-{name}" for number, (name, _) in enumerate(OPENERS)]
)
def test_nothing_but_a_file_of_this_user_alone_is_opened(tmp_path, name, opens, strange):
    location = tmp_path / "location"
    location.mkdir(mode=0o700)
    if name in (FILE_NAME, LOCKS_NAME):
        write(location)
        (location / name).unlink()
    STRANGE[strange](location / name)
    told = f"({strange}|is a plain file)" if name == SOCKET_NAME else strange
    with pytest.raises(HACacheError, match=f"{location}/{name} .*{told}"):
        opens(location)
    elsewhere = tmp_path / "elsewhere"
    assert not elsewhere.exists() or elsewhere.read_bytes() == b"of somebody"


def test_where_descriptors_have_no_paths_the_way_is_gone_again(tmp_path, monkeypatch):
    monkeypatch.setattr(directories, "DESCRIPTORS", "/nowhere")
    location, former = tmp_path / "location", tmp_path / "former"
    write(location)
    read(location)
    with open_private(location) as opened, opened.reached("name") as path:
        assert path == str(location / "name")
    with pytest.raises(Unfit, match="was replaced"), open_private(location) as opened, opened.reached("name"):
        location.rename(former)
        location.mkdir(mode=0o700)


def test_lmdb_is_not_left_open_where_the_directory_was_replaced_meanwhile(tmp_path, monkeypatch):
    """Descriptors have no paths here: only afterwards it can be seen that it was another directory."""
    monkeypatch.setattr(directories, "DESCRIPTORS", "/nowhere")
    location = tmp_path / "location"
    write(location)
    checks = iter([None, Unfit("replaced")])

    def ensure_found(_self: object) -> None:
        if (error := next(checks)) is not None:
            raise error

    monkeypatch.setattr(directories.Directory, "_ensure_found", ensure_found)
    with pytest.raises(ReplicaError, match="replaced"):
        read(location)
    monkeypatch.undo()
    read(location)


def test_messages_name_the_path_that_people_know(tmp_path):
    location = tmp_path / "location"
    location.mkdir(mode=0o700)
    with pytest.raises(ReplicaError) as caught:
        read(location)
    assert str(location / FILE_NAME) in str(caught.value)
    assert "/proc" not in str(caught.value)


def test_a_socket_with_a_long_path_is_reached_by_a_short_one(tmp_path):
    with open_private(tmp_path) as directory, socket.socket(socket.AF_UNIX) as listener:
        with directory.reached("node.sock") as address:
            listener.bind(address)
        assert stat.S_ISSOCK(directory.look("node.sock").st_mode)
