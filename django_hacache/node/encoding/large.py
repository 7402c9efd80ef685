"""Messages with something large in them, encoded with one copy of it, and decoded with none.

protobuf copies what is put into a message, what goes with that into another one, and all of it once more to serialize
it: of 16 MiB that is a tenth of a second in which the node's loop does nothing else. A message is the sum of its fields
in any order, so the large one is put behind the others as it is, and looked at where it is. Knows protobuf's encoding,
and no meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Below this, protobuf's own ways are quicker.
LARGE_BYTES = 128 << 10
VARINT, LENGTH_DELIMITED = 0, 2
SEVEN_BITS = 0x7F
MORE = 0x80


def number_of(message: type[Any], field: str) -> int:
    """The number of a field of bytes, of text or of messages."""
    return int(message.DESCRIPTOR.fields_by_name[field].number)


def with_length(number: int, chunks: Sequence[bytes]) -> list[bytes]:
    """The field with that number whose content is the sum of the chunks, in chunks."""
    header = _varint(number << 3 | LENGTH_DELIMITED) + _varint(sum(map(len, chunks)))
    return [header, *chunks]


class Field(NamedTuple):
    """Where a field is in its message, and the content of one that has a length."""

    number: int
    begins: int
    ends: int
    content: memoryview | None


def fields(message: memoryview) -> Iterator[Field]:
    """The fields in their order. Raises ValueError where they are in no form that this knows."""
    at = 0
    while at < len(message):
        begins = at
        tag, at = _read_varint(message, at)
        content, kind = None, tag & 7
        length, at = _read_varint(message, at)
        if kind == LENGTH_DELIMITED:
            content, at = message[at : at + length], at + length
        elif kind != VARINT:
            raise ValueError(f"a field of wire type {kind}")
        if at > len(message):
            raise ValueError("a field that is longer than its message")
        yield Field(tag >> 3, begins, at, content)


def without(message: memoryview, number: int) -> tuple[bytes, memoryview | None]:
    """The message less the field of that number, and the content of that; None where it has none, or several."""
    found = [one for one in fields(message) if one.number == number]
    if len(found) != 1:
        return b"", None
    (one,) = found
    return b"".join([message[: one.begins], message[one.ends :]]), one.content


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        number |= (byte & SEVEN_BITS) << shift
        if not byte & MORE:
            return number, at
    raise ValueError("a number that does not end")


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > SEVEN_BITS:
        encoded.append(number & SEVEN_BITS | MORE)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
