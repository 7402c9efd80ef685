"""What differs between operating systems, and the clocks. Must not know caches.

The package is made for Linux and tested there only. On macOS a standalone cache has all it needs. Elsewhere every
module can be imported, so that a project with the app starts, and the first use of a cache says what is missing.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import sys
import time
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from django_hacache.system.interruption import ensure_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SUPPORTED = ("linux", "darwin")

# sockaddr_un has 108 bytes, on macOS 104; one of them is for the terminating NUL.
SOCKET_PATH_BYTES_MAX = 103 if sys.platform == "darwin" else 107

MOUNTS = Path("/proc/self/mountinfo")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
STAT = Path("/proc/self/stat")
STARTTIME = 19  # of what follows the name: in ticks since the boot
SCHEDSTAT = "/proc/{}/schedstat"
ESCAPED = re.compile(r"\\([0-7]{3})")

# Where tcpi_bytes_received is in Linux's struct tcp_info.
RECEIVED_AT = 128
# Python's socket has no names for the level and the options of macOS; its struct xucred has so many bytes.
SOL_LOCAL, LOCAL_PEERCRED, LOCAL_PEERPID, XUCRED_BYTES = 0, 1, 2, 76


def refusal() -> str | None:
    """Return the sentence for a system on which the package cannot work, None where it can."""
    if sys.platform in SUPPORTED:
        return None
    return (
        f"django_hacache needs Linux, and this system is {sys.platform!r}: in development use Django's "
        "django.core.cache.backends.locmem.LocMemCache as BACKEND here, or run the site in a container, a virtual "
        "machine or WSL."
    )


def _clock_of(*names: str) -> int | None:
    return next((getattr(time, name) for name in names if hasattr(time, name)), None)


# Setting the wall clock moves none of them. The first (Linux) and the second (macOS) count time asleep.
_BOOT_CLOCK = _clock_of("CLOCK_BOOTTIME", "CLOCK_MONOTONIC_RAW", "CLOCK_MONOTONIC")
_MONOTONIC_CLOCK = _clock_of("CLOCK_MONOTONIC")

boottime_ns: Callable[[], int] = (
    time.monotonic_ns if _BOOT_CLOCK is None else partial(time.clock_gettime_ns, _BOOT_CLOCK)
)
"""Nanoseconds since this machine was booted, time asleep included. On the way of every read: no frame of Python."""

_IMPORTED_AT_NS = boottime_ns()

monotonic: Callable[[], float] = (
    time.monotonic if _MONOTONIC_CLOCK is None else partial(time.clock_gettime, _MONOTONIC_CLOCK)
)
"""time.monotonic() (s), out of reach of libraries that freeze time for tests: a deadline would never come."""


def process_age_ns() -> int:
    """Return for how long this process has been running (ns); without /proc, since this module was imported."""
    try:
        # The name of the program comes before, in parentheses, and may have blanks.
        after_name = STAT.read_text().rpartition(")")[2].split()
    except OSError as error:
        ensure_own(error)
        return boottime_ns() - _IMPORTED_AT_NS
    began_ns = int(after_name[STARTTIME]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return max(boottime_ns() - began_ns, 0)


def address_space() -> str:
    """Return the sentence that says what bounds the address space of this process."""
    import resource  # noqa: PLC0415 - Windows has none, and never comes here

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return "The system has refused it (vm.overcommit_memory)"
    return f"This process may have {limit} (RLIMIT_AS, `ulimit -v`)"


@cache
def boot_id() -> bytes:
    """Return the kernel's random name of the current boot (16 bytes): instants of another boot mean nothing."""
    text = _boot_session() if sys.platform == "darwin" else BOOT_ID.read_text()
    return bytes.fromhex(text.strip().replace("-", ""))


def _boot_session() -> str:
    import subprocess  # noqa: PLC0415 - on macOS only

    command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - all ours


def after_fork_in_child(call: Callable[[], None]) -> None:
    """Have `call` called in every child that Python forks, where the system has fork()."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)


def lock_byte(descriptor: int, at: int, *, shared: bool = False, wait: bool = True) -> None:
    """Lock the byte `at` of a file for this process, with a POSIX lock: no child inherits it.

    Raises BlockingIOError or PermissionError where another process has it and `wait` is false.
    """
    import fcntl  # noqa: PLC0415 - Windows has none, and never comes here

    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    fcntl.lockf(descriptor, kind if wait else kind | fcntl.LOCK_NB, 1, at)


def unlock_byte(descriptor: int, at: int) -> None:
    import fcntl  # noqa: PLC0415 - as above

    fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, at)


def lock_for_open_file(descriptor: int) -> None:
    """Lock the first byte of a file until this descriptor is closed: other descriptors of the file do not matter.

    It excludes locks of lock_byte, too. Does not wait; raises as lock_byte does. Where the system has no such lock, it
    is one of lock_byte.
    """
    import fcntl  # noqa: PLC0415 - as above

    if not hasattr(fcntl, "F_OFD_SETLK"):
        lock_byte(descriptor, 0, wait=False)
        return
    whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)  # struct flock
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, whole)


def allocate(descriptor: int, size: int) -> None:
    """Allocate the first `size` bytes of a file on the file system; their content stays."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    there = os.fstat(descriptor).st_size
    if there < size:
        os.pwrite(descriptor, bytes(size - there), there)


@contextmanager
def as_path(content: bytes) -> Iterator[str]:
    """Give a path where `content` can be read in this block, for callers of what takes only paths.

    In memory where the system can.
    """
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("hacache", os.MFD_CLOEXEC), "wb") as memory:
            memory.write(content)
            memory.flush()
            path = f"/proc/self/fd/{memory.fileno()}"
            if os.path.exists(path):  # noqa: PTH110 - /proc may not be mounted
                yield path
                return
    import tempfile  # noqa: PLC0415 - workers have no use for it

    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name


class Socket(Protocol):
    """One of the module socket, or the plain one beneath it."""

    def getsockopt(self, level: int, option: int, length: int, /) -> bytes: ...


def ran_ns(pid: int) -> int:
    """Return for how long the main thread of a process has had a processor (ns); 0 where the system does not say."""
    try:
        return int(Path(SCHEDSTAT.format(pid)).read_bytes().partition(b" ")[0])
    except OSError as error:
        ensure_own(error)
        return 0


def peer_uid(connection: Socket) -> int:
    """Return the user id of the process at the other end of a Unix socket."""
    if hasattr(socket, "SO_PEERCRED"):
        _pid, uid, _gid = struct.unpack(
            "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        )
    else:
        # What getpeereid() of its C library asks for: a version, the user id, the groups.
        _version, uid = struct.unpack_from(
            "=II", connection.getsockopt(SOL_LOCAL, LOCAL_PEERCRED, XUCRED_BYTES)
        )
    return int(uid)


def received_bytes(connection: Socket) -> int | None:
    """Return how many bytes have come over a TCP connection; None where the system does not say."""
    if not hasattr(socket, "TCP_INFO") or sys.platform != "linux":
        return None
    told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, RECEIVED_AT + 8)
    if len(told) < RECEIVED_AT + 8:
        return None  # a kernel before 4.1
    (received,) = struct.unpack_from("=Q", told, RECEIVED_AT)
    return int(received)


def peer_pid(connection: Socket) -> int:
    """Return the id of the process at the other end of a Unix socket; 0 where it is of another PID namespace."""
    if hasattr(socket, "SO_PEERCRED"):
        pid, _uid, _gid = struct.unpack(
            "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        )
    else:
        (pid,) = struct.unpack("=i", connection.getsockopt(SOL_LOCAL, LOCAL_PEERPID, 4))
    return int(pid)


def is_of_one_user(group: int, user: int) -> bool:
    """Whether the group is the user's own, with nobody else in it."""
    import grp  # noqa: PLC0415 - Windows has neither, and never comes here
    import pwd  # noqa: PLC0415

    try:
        of_group, of_user = grp.getgrgid(group), pwd.getpwuid(user)
    except KeyError as error:
        ensure_own(error)
        return False
    own = of_user.pw_name
    return of_group.gr_name == own and of_user.pw_gid == group and set(of_group.gr_mem) <= {own}


def file_system_of(path: Path) -> str | None:
    """Return the type of the file system ("tmpfs", "ext4") that `path` is or would be on; it follows no link.

    None where the system does not say.
    """
    try:
        lines = MOUNTS.read_text().splitlines()
    except OSError as error:
        ensure_own(error)
        return None
    found, depth = None, 0
    for line in lines:
        mounted, _, described = line.partition(" - ")
        point = Path(ESCAPED.sub(lambda code: chr(int(code[1], 8)), mounted.split()[4]))
        # The last file system that was mounted at a directory hides those before.
        if path.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = described.split()[0], len(point.parts)
    return found
