"""What the kernel tells of processes on this machine: their memory and their CPU time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LISTENING = "0A"  # as /proc/PID/net/tcp has it
TICKS = os.sysconf("SC_CLK_TCK")
BLOCK = 512  # what st_blocks counts in, whatever the file system's own blocks are


def rollup(pid: int | str) -> dict[str, int]:
    """/proc/PID/smaps_rollup, in bytes."""
    _, *lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return {name.rstrip(":"): int(kilobytes) << 10 for name, kilobytes, _ in map(str.split, lines)}


def memory(pids: Iterable[int], directory: Path | None = None) -> int:
    """Bytes that processes and the directory in shared memory that they map take together.

    Pages of several processes count once. The directory counts as a whole, mapped or not, so what the
    processes map of it does not count again.
    """
    taken = sum(seen["Pss"] - (seen["Pss_Shmem"] if directory else 0) for seen in map(rollup, pids))
    return taken + (_blocks(directory) if directory else 0)


def _blocks(directory: Path) -> int:
    return sum(path.lstat().st_blocks * BLOCK for path in directory.rglob("*"))


def with_children(pids: Iterable[int]) -> list[int]:
    """The processes, and those that they have started."""
    parents = list(pids)
    listed = [Path(f"/proc/{pid}/task/{pid}/children").read_text() for pid in parents]
    return parents + [int(child) for children in listed for child in children.split()]


def listening_ports(pid: int) -> set[int]:
    """The TCP ports that somebody listens on where the process is: of its network namespace."""
    _, *lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()
    fields = [line.split() for line in lines]
    return {int(local.rpartition(":")[2], 16) for _, local, _, state, *_ in fields if state == LISTENING}


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, that of all its threads."""
    # The name of the program, in parentheses, may have spaces in it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = fields[11:13]
    return (int(user) + int(system)) / TICKS
