"""Messages with something large in them, encoded with one copy of it.

protobuf copies what is put into a message, what goes with that into another one, and all of it once more to serialize
it: of 16 MiB that is a tenth of a second in which the node's loop does nothing else. A message is the sum of its fields
in any order, so the large one is put behind the others as it is. Knows protobuf's encoding, and no meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# Below this, protobuf's own ways are quicker.
LARGE_BYTES = 128 << 10
LENGTH_DELIMITED = 2
SEVEN_BITS = 0x7F
MORE = 0x80


def number_of(message: type[Any], field: str) -> int:
    """The number of a field of bytes, of text or of messages."""
    return int(message.DESCRIPTOR.fields_by_name[field].number)


def with_length(number: int, chunks: Sequence[bytes]) -> list[bytes]:
    """The field with that number whose content is the sum of the chunks, in chunks."""
    header = _varint(number << 3 | LENGTH_DELIMITED) + _varint(sum(map(len, chunks)))
    return [header, *chunks]


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > SEVEN_BITS:
        encoded.append(number & SEVEN_BITS | MORE)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
