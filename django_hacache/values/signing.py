"""The codecs of a cache's values: plain, or signed with keys that only the web site has.

Whoever has the token, the socket or the file can write to the cache, and unpickling runs code. So a worker verifies the
signature of a value before it does anything else with it. It is an HMAC over the name of the cache, the key as it is
stored (with prefix and version) and the bytes of the value: what was stored under one key is no value under another.
Not signed is when an entry expires; and an older value of the same key has a right signature, too.

HMAC-SHA-256, cut to 128 bits as RFC 2104 allows: about 1 µs for half a kilobyte, as keyed BLAKE2b, and half as long for
more; and it is there on systems with approved algorithms only. Must not know settings or a replica.
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

# A key derived with it serves this purpose only, whatever else the web site signs with the same secret.
SALT = "django_hacache.values.signing.value"
SIGNATURE_BYTES = 16
BODY = 1 + SIGNATURE_BYTES
"""Where the value begins, after the mark and the signature."""

_MARK = bytes([SIGNED])
_BLOCK_BYTES = 64  # SHA-256's


class SignatureError(EncodingError):
    """A stored value is not signed, was signed with another key or for another cache or key, or was changed since."""


class Codec(Protocol):
    """Values of one cache as they are stored under their keys, and back."""

    def encode(self, key: str, value: Any) -> bytes:
        """Return the bytes to store. Raises what pickle raises."""

    def decode(self, key: str, data: bytes | memoryview) -> Any:
        """Return the value. Raises EncodingError, and what pickle raises."""

    def holds(self, key: str, data: bytes | memoryview) -> bool:
        """Whether has_key() is to say that it is there; decodes nothing."""

    def integer(self, key: str, data: bytes | memoryview) -> int | None:
        """Return the value where it is an integer that the leader can add to, None for any other."""

    def moved(self, old: str, new: str, data: bytes) -> bytes:
        """Return the stored bytes of the key `old` as they are stored under `new`. Raises EncodingError."""


class Plain:
    """Signs nothing; what is signed is no value."""

    def encode(self, key: str, value: Any) -> bytes:  # noqa: ARG002 - Codec's
        return encode(value)

    def decode(self, key: str, data: bytes | memoryview) -> Any:  # noqa: ARG002
        if data and data[0] == PICKLE:  # nearly all are; without another call, since every hit comes here
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
        return b"".join((_MARK, _signature(self._states[0], _delimited(key), body), body))

    def _checked(self, key: str, data: bytes | memoryview) -> bytes | memoryview:
        """Return the value's bytes behind the signature. Raises SignatureError where that is wrong."""
        if len(data) <= BODY or data[0] != SIGNED:
            raise SignatureError("It is not signed, and SIGNING_KEYS is set.")
        signature, body, signed_key = data[1:BODY], data[BODY:], _delimited(key)
        for state in self._states:
            if compare_digest(_signature(state, signed_key, body), signature):
                return body
        raise SignatureError(
            "Its signature is wrong: it was changed, moved here, or signed with a key that is not in SIGNING_KEYS."
        )


PLAIN: Final = Plain()


def codec_of(cache: str, keys: Sequence[bytes]) -> Codec:
    """Return the codec of the cache of this name; it signs where there are keys."""
    return Signed(cache, keys) if keys else PLAIN


def _prepared(cache: str, key: bytes) -> tuple[Hash, Hash]:
    """Return both hashes of an HMAC after their first block: copying them takes half the time of hmac's objects."""
    derived = _salted(cache.encode(), key).ljust(_BLOCK_BYTES, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in derived)), sha256(bytes(byte ^ 0x5C for byte in derived))


def _salted(value: bytes, secret: bytes) -> bytes:
    """Return what Django's salted_hmac would. Nodes sign, too, and do not know Django."""
    return digest(sha256(SALT.encode() + secret).digest(), value, "sha256")


def _delimited(key: str) -> bytes:
    """Return the key behind its length: no other key and value give the same bytes."""
    encoded = key.encode()
    return len(encoded).to_bytes(4, "big") + encoded


def _signature(state: tuple[Hash, Hash], key: bytes, body: bytes | memoryview) -> bytes:
    inner, outer = state[0].copy(), state[1].copy()
    inner.update(key)
    inner.update(body)
    outer.update(inner.digest())
    return outer.digest()[:SIGNATURE_BYTES]
