"""The state machine of the simulation: a small dict, and the leader's evaluator over it."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """What a client asks for; `len` of it is its size for the core's bounds."""

    kind: str  # set, add, delete, incr
    key: str
    value: int

    @property
    def size(self) -> int:
        return 40


def set_effect(key: str, value: int) -> bytes:
    return f"set {key} {value}".encode()


def delete_effect(key: str) -> bytes:
    return f"del {key}".encode()


def parse(effect: bytes) -> tuple[str, int | None] | None:
    """Which key becomes what (None: absent); None where nothing changes."""
    if not effect:
        return None
    parts = effect.decode().split()
    return (parts[1], int(parts[2])) if parts[0] == "set" else (parts[1], None)


class Contents:
    """A dict with a digest that follows each change, so that two replicas compare in one step."""

    __slots__ = ("digest", "values")

    def __init__(self, values: dict[str, int] | None = None, digest: int = 0) -> None:
        self.values = dict(values or {})
        self.digest = digest

    def apply(self, effect: bytes) -> None:
        change = parse(effect)
        if change is None:
            return
        key, value = change
        old = self.values.pop(key, None)
        if old is not None:
            self.digest ^= hash((key, old))
        if value is not None:
            self.values[key] = value
            self.digest ^= hash((key, value))

    def copy(self) -> Contents:
        return Contents(self.values, self.digest)


class Overlay:
    """Evaluates commands against the replica and everything that this leader has put into the order since."""

    def __init__(self, host) -> None:
        self._host = host
        self._ahead: dict[str, tuple[int, int | None]] = {}

    def _value(self, key: str) -> int | None:
        if key in self._ahead:
            return self._ahead[key][1]
        return self._host.disk.contents.values.get(key)

    def evaluate(self, command: Command, index: int, now: int) -> tuple[bytes, bytes]:
        old = self._value(command.key)
        match command.kind:
            case "set":
                effect, outcome = set_effect(command.key, command.value), b"1"
            case "add":
                effect = set_effect(command.key, command.value) if old is None else b""
                outcome = b"1" if old is None else b"0"
            case "delete":
                effect = delete_effect(command.key) if old is not None else b""
                outcome = b"1" if old is not None else b"0"
            case _:
                value = (old or 0) + command.value
                effect, outcome = set_effect(command.key, value), str(value).encode()
        change = parse(effect)
        if change is not None:
            self._ahead[change[0]] = (index, change[1])
        return effect, outcome

    def applied(self, effect: bytes, index: int) -> None:
        if self._ahead:
            change = parse(effect)
            if change is not None and change[0] in self._ahead and self._ahead[change[0]][0] <= index:
                del self._ahead[change[0]]

    def abandon(self) -> None:
        self._ahead.clear()
