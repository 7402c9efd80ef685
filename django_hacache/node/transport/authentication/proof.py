"""How the two ends of a lane prove to each other that they have the token, which itself never travels.

    opener    -> acceptor   LaneHello       who opens it, to whom, at which port, and a random number
    acceptor  -> opener     LaneChallenge   a random number of its own
    opener    -> acceptor   LaneProof       HMAC(token, "opener", hello, challenge)
    acceptor  -> opener     LeaderInfo with HMAC(token, "acceptor", hello, challenge)

Nothing of that can be used a second time (both random numbers are in it), in the other direction (so is the role), or
with another node (so are both addresses and the port: who listens at a port that a node has left is not that node, and
can pass nothing on to where it listens now). The opener proves first: whoever merely connects learns nothing to try
tokens on. Knows no connection.
"""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NONCE_BYTES = 32
OPENER, ACCEPTOR = b"opener", b"acceptor"
LABEL = b"django_hacache lane"


def nonce() -> bytes:
    """A random number that nobody has seen before."""
    return secrets.token_bytes(NONCE_BYTES)


def proof(token: str, role: bytes, hello: bytes, challenge: bytes) -> bytes:
    """The HMAC that only who has the token can make; `hello` and `challenge` are the bytes from the wire."""
    said = hmac.new(token.encode(), digestmod=sha256)
    for part in (LABEL, role, hello, challenge):
        # With its length: no two openings read alike.
        said.update(len(part).to_bytes(4) + part)
    return said.digest()


def proven(tokens: Iterable[str], given: bytes, role: bytes, hello: bytes, challenge: bytes) -> str | None:
    """The token of `tokens` that `given` proves; None where it proves none. Takes as long for each of them."""
    found = None
    for token in tokens:
        if hmac.compare_digest(proof(token, role, hello, challenge), given):
            found = token
    return found
