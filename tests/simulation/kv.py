"""The state machine of the simulation: a small dict with times to live, and the leader's evaluator over it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from django_hacache.consensus.proposals.held import Lack

ENTRY_BYTES = 60
"""What an entry takes beside its value."""


class Command(NamedTuple):
    """What a client asks for."""

    kind: str  # set, add, delete, incr, touch
    key: str
    value: int = 0
    ttl: int = 0  # milliseconds; 0: for ever
    padding: int = 0  # bytes that the value takes

    @property
    def size(self) -> int:
        """For the core's bounds on what waits."""
        return 40 + self.padding


def line_of(command: Command) -> str:
    """What holds the keys, in two halves."""
    return "ab"[sum(command.key.encode()) % 2]


def lack_of(command: Command) -> Lack:
    """What a command finds no room in: one half is full by itself then, the other one because the whole is."""
    return Lack.OWN if line_of(command) == "a" else Lack.SHARED


class Effect(NamedTuple):
    """What an entry of the log does to a replica. `keep`: the key's end stays what it is."""

    kind: str  # set, del, touch, rm
    keys: tuple[str, ...]
    value: int = 0
    ttl: int = 0
    keep: bool = False
    padding: int = 0


def set_effect(key: str, value: int, *, ttl: int = 0, keep: bool = False, padding: int = 0) -> bytes:
    return f"set {key} {value} {'keep' if keep else ttl} {'x' * padding}".encode()


def delete_effect(key: str) -> bytes:
    return f"del {key}".encode()


def touch_effect(key: str, ttl: int) -> bytes:
    return f"touch {key} {ttl}".encode()


def remove_effect(keys: Iterable[str]) -> bytes:
    return f"rm {' '.join(keys)}".encode()


@lru_cache(maxsize=4096)  # each host applies it
def parse(effect: bytes) -> Effect | None:
    """None where nothing changes."""
    if not effect:
        return None
    kind, key, *rest = effect.decode().split(" ")
    match kind:
        case "set":
            value, end, padding = rest
            keep = end == "keep"
            return Effect(kind, (key,), int(value), 0 if keep else int(end), keep, len(padding))
        case "touch":
            return Effect(kind, (key,), ttl=int(rest[0]))
        case _:
            return Effect(kind, (key, *rest))


class Contents:
    """A dict with a digest that follows each change, so that two replicas compare in one step.

    The order of the dict is that of the latest writes. When an entry ends is counted on one host's clock and is no part
    of the digest. What was dropped on one host alone is: there it is a miss, and so the others' value and no other one.
    """

    __slots__ = ("bytes", "digest", "dropped", "ends", "padding", "values")

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.padding: dict[str, int] = {}
        self.ends: dict[str, int] = {}
        self.dropped: dict[str, int] = {}
        self.digest = 0
        self.bytes = 0

    def apply(self, effect: bytes, born: int = 0, position: bytes | None = None) -> None:
        """Do what an entry says that was appended at `born`, on the clock of whoever keeps this.

        position: of an incomplete replica, up to which key it holds any.
        """
        change = parse(effect)
        if change is None:
            return
        if position is not None:
            change = change._replace(keys=tuple(key for key in change.keys if key.encode() <= position))
            if not change.keys:
                return
        if change.kind == "touch":
            (key,) = change.keys
            if key in self.values:
                self._ends(key, born, change.ttl)
            return
        for key in change.keys:
            if key in self.dropped:
                self.digest ^= hash((key, self.dropped.pop(key)))
            old = self.values.pop(key, None)
            if old is not None:
                self.digest ^= hash((key, old))
                self.bytes -= ENTRY_BYTES + self.padding.pop(key)
            if change.kind != "set":
                self.ends.pop(key, None)
                continue
            self.values[key], self.padding[key] = change.value, change.padding
            self.digest ^= hash((key, change.value))
            self.bytes += ENTRY_BYTES + change.padding
            if not change.keep:
                self._ends(key, born, change.ttl)

    def _ends(self, key: str, born: int, ttl: int) -> None:
        if ttl:
            self.ends[key] = born + ttl
        else:
            self.ends.pop(key, None)

    def drop(self, keys: Iterable[str]) -> None:
        """Make room on this host alone."""
        for key in keys:
            self.dropped[key] = self.values.pop(key)
            self.bytes -= ENTRY_BYTES + self.padding.pop(key)
            self.ends.pop(key, None)

    def take_as_dropped(self, key: str, value: int) -> None:
        """It was dropped where this replica comes from."""
        self.apply(set_effect(key, value))
        self.drop([key])

    def live(self, key: str, now: int) -> int | None:
        end = self.ends.get(key)
        return None if end is not None and end <= now else self.values.get(key)


class Ahead(NamedTuple):
    """A key as the order leaves it, before that is applied."""

    index: int
    value: int | None
    end: int  # 0: none


class Overlay:
    """Evaluates commands against the replica and everything that this leader has put into the order since."""

    def __init__(self, host) -> None:
        self._host = host
        self._ahead: dict[str, Ahead] = {}
        # Of each change in the order that takes room: its index, and how much.
        self._taking: deque[tuple[int, int]] = deque()
        self._bytes_ahead = 0

    def _look(self, key: str, now: int) -> Ahead | None:
        """The live entry."""
        ahead = self._ahead.get(key)
        if ahead is None:
            contents = self._host.disk.contents
            value = contents.live(key, now)
            return None if value is None else Ahead(0, value, contents.ends.get(key, 0))
        return None if ahead.value is None or 0 < ahead.end <= now else ahead

    def _present(self, key: str) -> bool:
        """Whether replicas hold it when this is applied, expired or not."""
        ahead = self._ahead.get(key)
        return key in self._host.disk.contents.values if ahead is None else ahead.value is not None

    def lacks(self, command: Command, size: int) -> Lack | None:
        """Whether the replica is too far beyond its limit; the writer waits until eviction has followed."""
        if command.kind in ("delete", "touch"):
            return None
        taken = self._host.disk.contents.bytes + self._bytes_ahead
        if taken + ENTRY_BYTES + command.padding <= self._host.cluster.plan.most_bytes:
            return None
        return lack_of(command)

    def line_of(self, command: Command) -> str:
        return line_of(command)

    def evaluate(self, command: Command, index: int, now: int) -> tuple[bytes, bytes]:
        kind, key, value, ttl, padding = command
        dropped = key in self._host.disk.contents.dropped and key not in self._ahead
        found = self._look(key, now)
        outcome = b"1" if found is not None or kind == "set" else b"0"
        effect = b""
        match kind:
            case "set":
                effect = self._set(index, key, value, now, ttl, padding)
            case "add":
                outcome = b"0" if found is not None else b"1"
                if found is None:
                    effect = self._set(index, key, value, now, ttl, padding)
            case "delete":
                if self._present(key):
                    effect = delete_effect(key)
                    self._ahead[key] = Ahead(index, None, 0)
            case "touch":
                if found is not None:
                    effect = touch_effect(key, ttl)
                    self._ahead[key] = Ahead(index, found.value, now + ttl if ttl else 0)
            case _:
                value = (found.value or 0 if found is not None else 0) + value
                outcome = str(value).encode()
                if found is None:
                    effect = self._set(index, key, value, now, ttl, padding)
                else:
                    effect = set_effect(key, value, keep=True, padding=padding)
                    self._takes(index, padding)
                    self._ahead[key] = Ahead(index, value, found.end)
        self._host.cluster.invariants.decided(self._host, index, dropped=dropped)
        return effect, outcome

    def _set(self, index: int, key: str, value: int, now: int, ttl: int, padding: int) -> bytes:
        self._ahead[key] = Ahead(index, value, now + ttl if ttl else 0)
        self._takes(index, padding)
        return set_effect(key, value, ttl=ttl, padding=padding)

    def _takes(self, index: int, padding: int) -> None:
        self._taking.append((index, ENTRY_BYTES + padding))
        self._bytes_ahead += ENTRY_BYTES + padding

    def removal(self, keys: Iterable[str], index: int) -> bytes:
        """The effect of an eviction, without what a change in the order has touched."""
        chosen = [key for key in keys if key not in self._ahead]
        for key in chosen:
            self._ahead[key] = Ahead(index, None, 0)
        return remove_effect(chosen) if chosen else b""

    def applied(self, index: int) -> None:
        """The replica now holds everything up to `index`."""
        while self._taking and self._taking[0][0] <= index:
            self._bytes_ahead -= self._taking.popleft()[1]
        if self._ahead:
            self._ahead = {key: ahead for key, ahead in self._ahead.items() if ahead.index > index}

    def abandon(self) -> None:
        self._ahead.clear()
        self._taking.clear()
        self._bytes_ahead = 0
