"""The control page: one page of shared memory in which the node notes until when its host may read, and can write.

The words are aligned and 64 bits wide, so the processor reads and writes each one whole. Must not know the replica or
the consensus core.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

from django_hacache.exceptions import ReplicaError
from django_hacache.replica.clock import boot_id, boottime_ns
from django_hacache.system.directory import PRIVATE_FILE, ensure_private, identity, is_still, open_private
from django_hacache.system.interruption import ensure_own
from django_hacache.system.platform import allocate

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "control"
PAGE_BYTES = 4096
WORD_MAX = (1 << 64) - 1
MAGIC = int.from_bytes(b"hacache1", "little")

(
    _MAGIC,
    _BOOT_LOW,
    _BOOT_HIGH,
    _EPOCH,
    _DEADLINE,
    _WRITABLE_UNTIL,
    _APPLIED,
    _EXPECTED_UNTIL,
    _ALIVE_AT,
    _GENERATION,
) = range(10)

# How long a node may take from making the page until it listens on its socket (ns).
START_NS = 5_000_000_000


class ControlPage:
    """The mapped page. The node creates and writes it, workers open and read it."""

    __slots__ = ("_identity", "_map", "_path", "_words")

    def __init__(self, path: Path, descriptor: int, *, writable: bool) -> None:
        self._path = path
        self._identity = identity(os.fstat(descriptor))
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self._map = mmap.mmap(descriptor, PAGE_BYTES, access=access)
        self._words = memoryview(self._map).cast("Q")

    @classmethod
    def create(cls, directory: Path, *, boot: bytes | None = None) -> ControlPage:
        """Return the node's page, in the file that is there or a new one, without a lease and in a new epoch.

        boot: of another boot than the current one. Raises ReplicaError where the directory or the file cannot be used.
        """
        path = directory / FILE_NAME
        try:
            with ensure_private(directory) as opened:
                descriptor = opened.open(FILE_NAME, os.O_RDWR | os.O_CREAT)
            try:
                os.fchmod(descriptor, PRIVATE_FILE)
                allocate(descriptor, PAGE_BYTES)  # a page of a hole could kill its reader by SIGBUS
                page = cls(path, descriptor, writable=True)
            finally:
                os.close(descriptor)
        except ReplicaError:
            raise
        except OSError as error:
            ensure_own(error)
            raise ReplicaError(f"cannot create the control page {path}: {error.strerror}") from error
        words = page._words
        page.revoke()
        page.note_unwritable()
        words[_ALIVE_AT] = 0
        words[_EXPECTED_UNTIL] = boottime_ns() + START_NS
        words[_BOOT_LOW], words[_BOOT_HIGH] = _words_of(boot or boot_id())
        words[_MAGIC] = MAGIC
        return page

    @classmethod
    def open(cls, directory: Path, *, boot: bytes | None = None) -> ControlPage | None:
        """Return a worker's view of the page; None while no node has made one since this machine was booted.

        Raises ReplicaError where the directory exists and is not private to this user.
        """
        path = directory / FILE_NAME
        try:
            with open_private(directory) as opened:
                descriptor = opened.open(FILE_NAME)
        except FileNotFoundError as error:
            ensure_own(error)
            return None
        except ReplicaError:
            raise
        except OSError as error:
            ensure_own(error)
            raise ReplicaError(f"cannot open the control page {path}: {error.strerror}") from error
        try:
            if os.fstat(descriptor).st_size < PAGE_BYTES:
                return None
            page = cls(path, descriptor, writable=False)
        finally:
            os.close(descriptor)
        words = page._words
        if words[_MAGIC] != MAGIC or (words[_BOOT_LOW], words[_BOOT_HIGH]) != _words_of(boot or boot_id()):
            page.close()
            return None
        return page

    @property
    def epoch(self) -> int:
        """Grows whenever a lease was lost before it was granted again."""
        return self._words[_EPOCH]

    @property
    def deadline_ns(self) -> int:
        """Boot-time instant until which the host may read; 0 without a lease."""
        return self._words[_DEADLINE]

    def holds(self, epoch: int) -> bool:
        """Whether the lease of `epoch` holds, so that what was read since the caller read `epoch` may be used."""
        return self.held_at(epoch) > 0

    def held_at(self, epoch: int) -> int:
        """Return the instant (boot time, ns) at which the lease of `epoch` was found to hold, 0 where it does not."""
        # A worker may be frozen between any two of these steps, so their order matters:
        # 1. read the deadline; 2. compare the epoch: it is the same, so the lease was not lost before step 1, and the
        # deadline is one of this epoch; 3. read the clock: the deadline had not passed then, so what the worker read
        # before step 1 was current.
        words = self._words
        deadline = words[_DEADLINE]
        return now if words[_EPOCH] == epoch and deadline > (now := boottime_ns()) else 0

    def grant(self, deadline_ns: int) -> None:
        """Let the host read until `deadline_ns` (boot time); a lease that had run out begins a new epoch."""
        words = self._words
        if words[_DEADLINE] <= boottime_ns():
            self._begin_epoch()
        words[_DEADLINE] = deadline_ns

    def revoke(self) -> None:
        """End the lease now: reads that are under way are lost with it."""
        self._begin_epoch()
        self._words[_DEADLINE] = 0

    def _begin_epoch(self) -> None:
        # After the largest number comes 0: an old file may hold any number.
        self._words[_EPOCH] = (self._words[_EPOCH] + 1) & WORD_MAX

    def set_writable_until(self, deadline_ns: int) -> None:
        """Note until when (boot time) the node counts on a live leader."""
        self._words[_WRITABLE_UNTIL] = deadline_ns

    @property
    def writable_until_ns(self) -> int:
        """Boot-time instant until which the node counts on a live leader, or did until it could not."""
        return self._words[_WRITABLE_UNTIL]

    def note_unwritable(self) -> None:
        """Note that there is no live leader now. The instant of the last one stays, for the circuit breaker."""
        self._words[_WRITABLE_UNTIL] = min(self._words[_WRITABLE_UNTIL], boottime_ns())

    def note_applied(self, index: int, generation: int) -> None:
        """Note how much of the log of which generation this host has applied."""
        self._words[_APPLIED] = index
        self._words[_GENERATION] = generation

    @property
    def since(self) -> tuple[int, int]:
        """The log index that this host had applied a moment ago, and its generation (0: not known)."""
        # The node writes the index, then the generation; this reads them the other way round. So:
        # 1. we read the new generation; 2. its index was written before that, and is what we read. Or:
        # 1. we read the old generation; 2. the node writes both; 3. we read the new index, and see another generation.
        generation = self._words[_GENERATION]
        index = self._words[_APPLIED]
        return index, generation if generation == self._words[_GENERATION] else 0

    def writable(self) -> bool:
        """Whether the node knew a live leader a moment ago: otherwise a write need not be tried."""
        return self._words[_WRITABLE_UNTIL] > boottime_ns()

    def note_serving(self) -> None:
        """Note that the socket is open: whoever finds it closed from now on knows that this node is gone."""
        self._words[_EXPECTED_UNTIL] = 0

    def note_stopped(self, back_within_ns: int) -> None:
        """Note that the node stops because it was told to; most are started again.

        back_within_ns: for how long from now workers are to wait for the next one.
        """
        self.note_unwritable()
        self._words[_EXPECTED_UNTIL] = boottime_ns() + back_within_ns

    def expected(self) -> bool:
        """Whether to wait for a node where the socket is closed: it begins, or was stopped a moment ago."""
        return self._words[_EXPECTED_UNTIL] > boottime_ns()

    def note_alive(self, now_ns: int) -> None:
        """Note that the node's event loop turns, at this instant of boot time; several times a second."""
        self._words[_ALIVE_AT] = now_ns

    @property
    def alive_at_ns(self) -> int:
        """When the node's event loop turned last, in boot time; 0 where it has not yet."""
        return self._words[_ALIVE_AT]

    def stale(self) -> bool:
        """Whether the file at the path is another one than the mapped one: somebody wiped the directory."""
        return not is_still(self._path, self._identity)

    def close(self) -> None:
        """Unmap the page."""
        self._words.release()
        self._map.close()


def _words_of(boot: bytes) -> tuple[int, int]:
    return int.from_bytes(boot[:8], "little"), int.from_bytes(boot[8:16], "little")
