"""Changes an input without breaking its form: steps, the messages in them, the fields of those.

What changes bytes blindly hardly ever makes a message of a message. Knows the wire's descriptors and no meaning.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from django_hacache.wire import cache_pb2 as pb

from .steps import STEPS_MAX, Step, data_of, steps_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

NUMBERS = (
    0,
    1,
    2,
    3,
    127,
    1 << 16,
    1 << 20,
    1 << 31,
    1 << 32,
    1 << 52,
    1 << 56,
    1 << 62,
    1 << 63,
    (1 << 64) - 1,
)
TEXTS = (
    "",
    "default",
    "other",
    "k1",
    "k7",
    "a" * 300,
    "\0",
    "ü",
    "127.0.0.1:7001",
    "127.0.0.1:7002",
    "r1",
    "g",
)
BYTES = (
    b"",
    b"\1\7",
    b"\0x",
    b"\x80\5N.",
    b"default\0k4",
    b"\xff",
    b"\xff" + bytes(16),
    b"k" * 600,
    b"\1" + b"\7" * 40,
)
WAITS_MS = (0, 1, 10, 50, 100, 300, 1000, 3000)
DEPTH = 4
INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}
# Bytes that hold a message of their own.
WITHIN: dict[str, type[Message]] = {"LogEntry.effects": pb.Effects, "LogEntry.outcome": pb.Outcome}


def mutate_steps(
    data: bytes, rng: Random, kinds: int, payloads: Mapping[int, type[Message]], blindly: Callable
) -> bytes:
    """Another list of steps. `payloads`: of which kinds the payload is a message, and of what type."""
    steps = steps_of(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(steps)) if steps else 0
        what = rng.randrange(10) if steps else 0
        if what == 0 and len(steps) < STEPS_MAX:
            steps.insert(at, _new_step(rng, kinds, payloads))
        elif what == 1:
            del steps[at]
        elif what == 2 and len(steps) < STEPS_MAX:
            steps.insert(rng.randrange(len(steps) + 1), steps[at])
        elif what == 3:
            other = rng.randrange(len(steps))
            steps[at], steps[other] = steps[other], steps[at]
        elif what == 4:
            steps[at] = steps[at]._replace(who=rng.randrange(16))
        elif what == 5:
            steps[at] = steps[at]._replace(after_ms=rng.choice(WAITS_MS))
        elif steps:
            steps[at] = steps[at]._replace(payload=_mutated(steps[at], rng, payloads, blindly))
    return data_of(steps)


def _new_step(rng: Random, kinds: int, payloads: Mapping[int, type[Message]]) -> Step:
    kind = rng.randrange(kinds)
    payload = b""
    if kind in payloads:
        message = payloads[kind]()
        fill(message, rng)
        payload = message.SerializeToString()
    return Step(kind, rng.randrange(16), rng.choice(WAITS_MS), payload)


def _mutated(step: Step, rng: Random, payloads: Mapping[int, type[Message]], blindly: Callable) -> bytes:
    if step.kind in payloads and rng.random() < 0.95:
        try:
            message = payloads[step.kind].FromString(step.payload)
        except DecodeError:
            return step.payload
        for _ in range(rng.choice((1, 1, 3))):
            mutate(message, rng)
        return message.SerializeToString()
    return blindly(step.payload)


def mutate(message, rng: Random) -> None:
    """Change one field, somewhere in the message."""
    present = [field for field, _ in message.ListFields()]
    fields = present if present and rng.random() < 0.75 else message.DESCRIPTOR.fields
    field = rng.choice(fields or [None])
    if field is None:
        return
    if field.is_repeated:
        _mutate_repeated(getattr(message, field.name), field, rng)
    elif field.type == field.TYPE_MESSAGE:
        if message.HasField(field.name) and rng.random() < 0.85:
            mutate(getattr(message, field.name), rng)
        elif message.HasField(field.name) and rng.random() < 0.5:
            message.ClearField(field.name)
        else:
            getattr(message, field.name).SetInParent()
            fill(getattr(message, field.name), rng)
    elif rng.random() < 0.1:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _value(field, getattr(message, field.name), rng))


def _mutate_repeated(values, field, rng: Random) -> None:
    what = rng.randrange(4)
    if what == 0 or not values:
        if field.type == field.TYPE_MESSAGE:
            fill(values.add(), rng)
        else:
            values.append(_value(field, None, rng))
    elif what == 1:
        del values[rng.randrange(len(values))]
    else:
        at = rng.randrange(len(values))
        if field.type == field.TYPE_MESSAGE:
            mutate(values[at], rng)
        else:
            values[at] = _value(field, values[at], rng)


def fill(message, rng: Random, depth: int = 0) -> None:
    """Set about half of the fields of a new message."""
    chosen = {}
    for field in message.DESCRIPTOR.fields:
        chosen.setdefault(field.containing_oneof.name if field.containing_oneof else field.name, []).append(
            field
        )
    for fields in chosen.values():
        field = rng.choice(fields)
        if rng.random() < 0.3 or (depth >= DEPTH and field.type == field.TYPE_MESSAGE):
            continue
        if field.type == field.TYPE_MESSAGE:
            inner = getattr(message, field.name)
            if field.is_repeated:
                for _ in range(rng.randrange(3)):
                    fill(inner.add(), rng, depth + 1)
            else:
                inner.SetInParent()
                fill(inner, rng, depth + 1)
        elif field.is_repeated:
            getattr(message, field.name).extend(_value(field, None, rng) for _ in range(rng.randrange(3)))
        else:
            setattr(message, field.name, _value(field, None, rng))


def _value(field, before, rng: Random):
    if field.cpp_type in INTEGERS:
        least, most = INTEGERS[field.cpp_type]
        number = rng.choice((before or 0, rng.choice(NUMBERS), rng.randrange(16)))
        return max(least, min(most, number + rng.choice((0, 0, 1, -1))))
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return not before
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return rng.choice([*(value.number for value in field.enum_type.values), 1000])
    if field.type == field.TYPE_STRING:
        return rng.choice(TEXTS)
    name = f"{field.containing_type.name}.{field.name}"
    if name in WITHIN and rng.random() < 0.9:
        inner = WITHIN[name]()
        with contextlib.suppress(DecodeError):
            inner = WITHIN[name].FromString(before or b"")
        mutate(inner, rng)
        return inner.SerializeToString()
    return rng.choice(BYTES)
