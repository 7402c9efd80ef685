"""How the values of one cache are stored: as they are, or signed with keys that only the site has.

Who can write to the cache has the token, the socket or the file, and pickles run code. A signed value is taken for one
only where its tag is right, and the tag is looked at before anything else is. It is an HMAC over the name of the cache,
the key as it is stored, with prefix and version, and the bytes of the value: what was stored under one key is nothing
under another one. When an entry ends is not signed, and an older value of the same key has a right tag as well.

HMAC-SHA-256, cut to 128 bits as RFC 2104 allows. For half a kilobyte it takes about 1 µs, as keyed BLAKE2b does, and
half as long for more; and it is there where only approved algorithms are. Knows neither settings nor replica.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest, digest
from typing import TYPE_CHECKING, Any, Final, Protocol

from django_hacache.values.serializers import (
    PICKLE,
    SIGNED,
    EncodingError,
    decode,
    decode_integer,
    encode,
    loads,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from hashlib import _Hash as Hash

# What is derived with it is good for this purpose only, whatever else the site signs with the same key.
SALT = "django_hacache.values.signing.value"
TAG_BYTES = 16
BODY = 1 + TAG_BYTES
"""Where the value begins, after the mark and the tag."""

_MARK = bytes([SIGNED])
_BLOCK_BYTES = 64  # SHA-256's


class SignatureError(EncodingError):
    """A stored value is not signed, or was signed with another key, for another place, or changed since."""


class Codec(Protocol):
    """Values of one cache as they are stored under their keys, and back."""

    def encode(self, key: str, value: Any) -> bytes:
        """Return the bytes to store. Raises whatever pickle raises where the value cannot be pickled."""

    def decode(self, key: str, data: bytes | memoryview) -> Any:
        """Return the value. Raises EncodingError, and whatever pickle raises."""

    def holds(self, key: str, data: bytes | memoryview) -> bool:
        """Whether an entry counts as there, without decoding it."""

    def integer(self, key: str, data: bytes | memoryview) -> int | None:
        """Return the value where it can be added to without unpickling anything, None for any other."""

    def moved(self, old: str, new: str, data: bytes) -> bytes:
        """Return what is stored under `old` as it is stored under `new`. Raises EncodingError."""


class Plain:
    """Nothing is signed, and what is signed is no value."""

    def encode(self, key: str, value: Any) -> bytes:  # noqa: ARG002 - Codec's
        return encode(value)

    def decode(self, key: str, data: bytes | memoryview) -> Any:  # noqa: ARG002
        if data and data[0] == PICKLE:  # as nearly all: the way of every hit
            return loads(data)
        return decode(data)

    def holds(self, key: str, data: bytes | memoryview) -> bool:  # noqa: ARG002
        return True

    def integer(self, key: str, data: bytes | memoryview) -> int | None:  # noqa: ARG002
        return decode_integer(data)

    def moved(self, old: str, new: str, data: bytes) -> bytes:  # noqa: ARG002
        return data


class Signed:
    """Everything is signed with the first key, and what none of the keys has signed is no value."""

    def __init__(self, cache: str, keys: Sequence[bytes]) -> None:
        """Take the cache's name in the replica, and at least one key."""
        self._states = [_prepared(cache, key) for key in keys]

    def encode(self, key: str, value: Any) -> bytes:
        return self._signed(key, encode(value))

    def decode(self, key: str, data: bytes | memoryview) -> Any:
        return decode(self._checked(key, data))

    def holds(self, key: str, data: bytes | memoryview) -> bool:
        try:
            self._checked(key, data)
        except SignatureError:
            return False
        return True

    def integer(self, key: str, data: bytes | memoryview) -> int | None:
        try:
            return decode_integer(self._checked(key, data))
        except SignatureError:
            return None

    def moved(self, old: str, new: str, data: bytes) -> bytes:
        return self._signed(new, self._checked(old, data))

    def _signed(self, key: str, body: bytes | memoryview) -> bytes:
        return b"".join((_MARK, _tag(self._states[0], _place(key), body), body))

    def _checked(self, key: str, data: bytes | memoryview) -> bytes | memoryview:
        """Return the value's own bytes, once it is proved that they are."""
        if len(data) <= BODY or data[0] != SIGNED:
            raise SignatureError("It is not signed, and SIGNING_KEYS is set.")
        told, body, place = data[1:BODY], data[BODY:], _place(key)
        for state in self._states:
            if compare_digest(_tag(state, place, body), told):
                return body
        raise SignatureError(
            "Its signature is wrong: it was changed, moved here, or signed with a key that is not in SIGNING_KEYS."
        )


PLAIN: Final = Plain()


def codec_of(cache: str, keys: Sequence[bytes]) -> Codec:
    """Return how the values of the cache of this name are stored."""
    return Signed(cache, keys) if keys else PLAIN


def _prepared(cache: str, key: bytes) -> tuple[Hash, Hash]:
    """Both hashes of an HMAC after their first block: copying them takes half the time of hmac's own objects."""
    derived = _salted(cache.encode(), key).ljust(_BLOCK_BYTES, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in derived)), sha256(bytes(byte ^ 0x5C for byte in derived))


def _salted(value: bytes, secret: bytes) -> bytes:
    """What Django's salted_hmac makes of it, without Django: nodes sign, too."""
    return digest(sha256(SALT.encode() + secret).digest(), value, "sha256")


def _place(key: str) -> bytes:
    """The key with its length before it, so that it cannot be taken for a part of the value."""
    encoded = key.encode()
    return len(encoded).to_bytes(4, "big") + encoded


def _tag(state: tuple[Hash, Hash], place: bytes, body: bytes | memoryview) -> bytes:
    inner, outer = state[0].copy(), state[1].copy()
    inner.update(place)
    inner.update(body)
    outer.update(inner.digest())
    return outer.digest()[:TAG_BYTES]
