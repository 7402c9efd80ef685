"""Reads of a cluster's worker: a value counts only while the node's lease holds, else the read is a miss.

Reads come back by themselves when the node does, also where the directory did not exist at first or somebody wiped it
in between. Must not know the node.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, TypeVar

from django_hacache.exceptions import ConfigurationError, ReplicaError
from django_hacache.replica.clock import boottime_ns
from django_hacache.replica.control import ControlPage
from django_hacache.replica.reading import live_value
from django_hacache.replica.replica import Replica
from django_hacache.system.interruption import ensure_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from django_hacache.replica.transaction import Item

log = logging.getLogger(__name__)

RECHECK_NS = 1_000_000_000

_Result = TypeVar("_Result")


class LeasedReader:
    """Reads as a Replica does, guarded by the lease; no method raises ReplicaError.

    An error that would make every read a miss for good is a ConfigurationError. One that may pass is logged once, and
    stands in `trouble` as long as it lasts.
    """

    def __init__(self, directory: Path, *, map_size: int, boot: bytes | None = None) -> None:
        self.directory = directory
        self._map_size = map_size
        self._boot = boot
        self._opened: tuple[ControlPage, Replica] | None = None
        self._checking = threading.Lock()
        self._next_check = 0  # boot time, ns
        # The epoch in which the opened files were last verified to be those at their paths.
        self._verified = -1
        self.trouble = ""
        """Why reads are misses although the node may have a lease; empty where nothing is wrong."""
        self._refusal = ""
        try:
            self._check()
        except BaseException:
            self.close()  # or LMDB would refuse to open the file again
            raise

    @property
    def control(self) -> ControlPage | None:
        """The node's page; None while there is none. Looked for again at most once a second."""
        if self._opened is None:
            self._check()
        opened = self._opened  # once: another thread may set it to None at any time
        return opened[0] if opened else None

    def get(self, cache: str, key: str) -> bytes | memoryview | None:
        """Return the live value, if the lease holds after it was read; None on a miss."""
        opened = self._opened
        if opened is None:
            self._check()
            return None
        control, replica = opened
        epoch = control.epoch
        if epoch != self._verified and not self._verify(opened, epoch):
            return None
        try:
            raw = replica.raw(cache, key)
        except ReplicaError as error:
            ensure_own(error)
            self._check(error)
            return None
        now_ns = control.held_at(epoch)
        if now_ns:
            return None if raw is None else live_value(raw, now_ns)
        self._verified = -1
        self._check()
        return None

    def get_many(self, cache: str, keys: Iterable[str]) -> dict[str, bytes | memoryview]:
        """Return the live values of `keys`, read in one transaction, if the lease holds after that."""
        return self._guarded(lambda replica: replica.get_many(cache, keys), {})

    def has(self, cache: str, key: str) -> bool:
        """Whether there is a live entry that may be read."""
        return self._guarded(lambda replica: replica.has(cache, key), False)

    def item(self, cache: str, key: str) -> Item | None:
        """Return the live entry with its version and expiry."""
        return self._guarded(lambda replica: replica.item(cache, key), None)

    def _guarded(self, read: Callable[[Replica], _Result], miss: _Result) -> _Result:
        opened = self._opened
        error = None
        if opened is not None:
            control, replica = opened
            epoch = control.epoch
            if epoch != self._verified and not self._verify(opened, epoch):
                return miss
            try:
                result = read(replica)
            except ReplicaError as failure:
                ensure_own(failure)
                error = failure
            else:
                if control.holds(epoch):
                    return result
                self._verified = -1
        self._check(error)
        return miss

    def _verify(self, opened: tuple[ControlPage, Replica], epoch: int) -> bool:
        """Verify the opened files, once an epoch: the node may be a new process that began with other files."""
        if not opened[0].holds(epoch):
            # Without a lease nobody vouches for the file: do not even look at it.
            self._check()
            return False
        if opened[0].stale() or opened[1].replaced():
            self._check()
            return False
        if self.trouble and not self._trouble_is_over(opened[1]):
            return False
        self._verified = epoch
        return True

    def _trouble_is_over(self, replica: Replica) -> bool:
        try:
            replica.probe()
        except ReplicaError as error:
            ensure_own(error)
            self._check(error)
            return False
        log.info("reads of the replica in %s are served again", self.directory)
        self.trouble = ""
        return True

    def _say(self, error: ReplicaError) -> None:
        if str(error) != self.trouble:
            self.trouble = str(error)
            log.error("reads of the replica in %s are misses: %s", self.directory, error)

    def _check(self, error: ReplicaError | None = None) -> None:
        """Open what is missing, and open again what was replaced; at most once a second.

        error: why a read was a miss.
        """
        if error is not None:
            # Have the next read find out whether the trouble is over.
            self._verified = -1
            self._say(error)
        if self._refusal and boottime_ns() < self._next_check:
            raise ConfigurationError(self._refusal)
        if boottime_ns() < self._next_check or self._checking.locked():
            return
        with self._checking:
            now = boottime_ns()
            if now < self._next_check:
                return  # another thread was faster
            self._next_check = now + RECHECK_NS
            opened = self._opened
            if opened is None or opened[0].stale() or opened[1].replaced():
                self._opened = None  # the old files close themselves when their last read is over
                self._opened = self._open()
                self._verified = -1

    def _open(self) -> tuple[ControlPage, Replica] | None:
        try:
            control = ControlPage.open(self.directory, boot=self._boot)
            if control is None:
                self._refusal = self.trouble = ""
                return None
        except ReplicaError as error:
            ensure_own(error)
            self._say(error)
            return None
        try:
            replica = Replica.open(self.directory, writable=False, map_size=self._map_size, boot=self._boot)
        except ReplicaError as error:
            ensure_own(error)
            self._say(error)
            return None
        except ConfigurationError as refusal:
            ensure_own(refusal)
            if not control.holds(control.epoch):
                self._refusal = ""
                return None  # the node, whose files these could be, has no lease either
            self._refusal = str(refusal)
            raise
        self._refusal = ""
        return control, replica

    def forget(self) -> None:
        """Leave what is open to the reads that are under way; the next read opens it again."""
        self._opened = None

    def close(self) -> None:
        """Close what is open; a later read opens it again. No other thread may be reading."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened[1].close()

    def abandon(self) -> None:
        """In a forked child: never use or close this one again (see Replica.abandon)."""
        if self._opened is not None:
            self._opened[1].abandon()
