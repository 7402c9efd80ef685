"""What differs between operating systems."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from django_hacache.system import platform

MOUNTINFO = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
25 22 0:24 / /dev/shm rw,nosuid,nodev shared:4 - tmpfs tmpfs rw
30 22 0:30 / /srv/with\040blank rw shared:9 - btrfs /dev/sdb rw
31 22 0:31 / /srv/over rw - xfs /dev/sdc rw
32 31 0:32 / /srv/over rw - ramfs none rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/cache/site", "ext4"),
        ("/dev/shm", "tmpfs"),
        ("/dev/shm/site/not/there/yet", "tmpfs"),
        ("/dev/shmem", "ext4"),
        ("/srv/with blank/site", "btrfs"),
        ("/srv/over/site", "ramfs"),
    ],
)
def test_the_file_system_of_a_path_is_that_of_the_mount_that_it_is_under(
    path: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTINFO)
    monkeypatch.setattr(platform, "MOUNTS", tmp_path / "mountinfo")
    assert platform.file_system_of(Path(path)) == kind


def test_where_the_system_has_no_list_of_mounts_the_file_system_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "MOUNTS", tmp_path / "none")
    assert platform.file_system_of(tmp_path) is None


def test_the_file_system_of_this_machine_is_known(tmp_path: Path) -> None:
    assert platform.file_system_of(tmp_path) is not None


def test_the_boot_has_one_name_for_all_processes() -> None:
    assert len(platform.boot_id()) == 16


def test_the_boot_s_name_on_macos_is_that_of_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "4F1D2C3B-0000-4000-8000-0123456789AB\n")

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "run", run)
    assert platform.boot_id.__wrapped__().hex() == "4f1d2c3b0000400080000123456789ab"
    assert asked == [["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]]


def test_a_file_gets_its_place_where_the_system_has_no_call_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    path = tmp_path / "file"
    path.write_bytes(b"kept")
    descriptor = os.open(path, os.O_RDWR)
    platform.allocate(descriptor, 8192)
    platform.allocate(descriptor, 100)
    os.close(descriptor)
    assert path.read_bytes() == b"kept" + bytes(8188)
    assert path.stat().st_blocks * 512 >= 8192


def test_the_user_and_the_process_at_the_other_end_of_a_socket_are_known() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert platform.peer_uid(one) == os.getuid()
        assert platform.peer_pid(one) == os.getpid()


def test_macos_tells_the_user_at_the_other_end_in_a_structure_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Connection:
        def getsockopt(self, *asked: int) -> bytes:
            assert asked == (0, 1, 76)
            return struct.pack("=IIh2x16I", 0, 501, 1, *range(16))

    monkeypatch.delattr(socket, "SO_PEERCRED")
    assert platform.peer_uid(Connection()) == 501


def test_macos_tells_the_process_at_the_other_end_by_an_option_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Connection:
        def getsockopt(self, *asked: int) -> bytes:
            assert asked == (0, 2, 4)
            return struct.pack("=i", 4711)

    monkeypatch.delattr(socket, "SO_PEERCRED")
    assert platform.peer_pid(Connection()) == 4711


MACOS = """
import asyncio, fcntl, os, socket, sys, time, zoneinfo
import django
from django.conf import settings
settings.configure(CACHES={"default": {"BACKEND": "django_hacache.cache.HACache", "LOCATION": sys.argv[1]}},
                   INSTALLED_APPS=["django_hacache"])
for module, names in (
    (time, ["CLOCK_BOOTTIME"]), (os, ["posix_fallocate", "O_PATH"]),
    (socket, ["SO_PEERCRED", "SOCK_NONBLOCK", "SOCK_CLOEXEC"]), (fcntl, ["F_OFD_SETLK", "F_OFD_SETLKW", "F_OFD_GETLK"]),
):
    for name in names:
        delattr(module, name)
sys.platform = "darwin"
from django_hacache.system import directory, platform
directory.DESCRIPTORS = "/none"
platform.MOUNTS = platform.Path("/none")
platform._boot_session = lambda: "4F1D2C3B-0000-4000-8000-0123456789AB"
django.setup()
from django.core.cache import cache
from django.core.management import call_command
call_command("check")
cache.set("a", 1, 60)
assert cache.incr("a") == 2 and cache.add("b", [1]) and not cache.add("b", 2)
asyncio.run(cache.aset("c", 3))
if os.fork() == 0:
    os._exit(0 if cache.get_many("abc") == {"a": 2, "b": [1], "c": 3} else 1)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
from django_hacache.link.address import SOCKET_PATH_BYTES_MAX
print(SOCKET_PATH_BYTES_MAX)
"""


def test_a_standalone_cache_works_with_what_macos_has(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", MACOS, str(tmp_path / "replica")], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (
        0,
        "System check identified no issues (0 silenced).\n103\n",
        "",
    )


WINDOWS = """
import asyncio, mmap, os, select, socket, subprocess, sys, time, zoneinfo
import django, google.protobuf.message, lmdb
from django.conf import settings
settings.configure(CACHES={"default": {"BACKEND": "django_hacache.cache.HACache"}},
                   INSTALLED_APPS=["django_hacache"], HACACHE={})
from django.core.management import call_command
from django.core.management.base import SystemCheckError
for module, names in (
    (time, ["clock_gettime", "clock_gettime_ns", "CLOCK_BOOTTIME", "CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW"]),
    (os, ["posix_fallocate", "register_at_fork", "fork", "getuid", "geteuid", "sysconf", "statvfs", "fchmod", "pread",
          "pwrite", "O_NOFOLLOW", "O_CLOEXEC", "O_DIRECTORY"]),
    (socket, ["SO_PEERCRED", "SOCK_NONBLOCK", "AF_UNIX"]), (mmap, ["MAP_PRIVATE", "MAP_ANONYMOUS", "PROT_READ"]),
    (select, ["poll"]),
):
    for name in names:
        delattr(module, name)
sys.modules["fcntl"] = None
sys.platform = "win32"
django.setup()
from django.core.cache import cache
import django_hacache.status, django_hacache.link.asynchronous, django_hacache.link.server
for use in (lambda: cache.get("a"), lambda: cache.set("a", 1), lambda: cache.get_or_set("a", 1)):
    try:
        use()
    except django.core.exceptions.ImproperlyConfigured as error:
        print(error)
try:
    call_command("check")
except SystemCheckError as error:
    print(str(error).count("(django_hacache."), "django_hacache.E019" in str(error))
"""


def test_another_system_is_refused_in_one_sentence_that_says_what_to_do() -> None:
    ran = subprocess.run([sys.executable, "-c", WINDOWS], capture_output=True, text=True, check=False)
    sentence = (
        "django_hacache needs Linux, and this system is 'win32': in development use Django's "
        "django.core.cache.backends.locmem.LocMemCache as BACKEND here, or run the site in a container, a virtual "
        "machine or WSL."
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [sentence] * 3 + ["1 True"]


def test_a_module_that_is_missing_elsewhere_is_imported_by_none_of_the_worker_s_side() -> None:
    # The node's room is imported by the node only, after the system was looked at.
    root = Path(platform.__file__).parent.parent
    importing = [
        path.relative_to(root)
        for path in root.rglob("*.py")
        if path != Path(platform.__file__)
        and root / "node" not in path.parents
        and re.search(r"^\s*(import|from) (fcntl|resource|pwd|grp)\b", path.read_text(), re.MULTILINE)
    ]
    assert importing == []


def test_the_lock_of_an_open_file_is_one_of_the_process_where_there_is_none_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(fcntl, "F_OFD_SETLK")
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    platform.lock_for_open_file(descriptor)
    looking = f"""
import os
from django_hacache.system import platform
try:
    platform.lock_byte(os.open({str(tmp_path / "lock")!r}, os.O_RDWR), 0, shared=True, wait=False)
except (BlockingIOError, PermissionError):
    print("taken")
"""
    ran = subprocess.run([sys.executable, "-c", looking], check=True, capture_output=True, text=True)
    os.close(descriptor)
    assert ran.stdout == "taken\n"


def test_a_process_knows_how_long_it_has_been_running() -> None:
    begun = platform.boottime_ns()
    age = "from django_hacache.system.platform import process_age_ns; print(process_age_ns())"
    found = int(
        subprocess.run([sys.executable, "-c", age], check=True, capture_output=True, text=True).stdout
    )
    # The kernel counts in ticks of a hundredth of a second.
    assert 0 < found <= platform.boottime_ns() - begun + 10_000_000


def test_where_nobody_says_how_long_it_counts_from_the_import(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(platform, "STAT", tmp_path / "missing")
    assert 0 < platform.process_age_ns() <= platform.boottime_ns()
