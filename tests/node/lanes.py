"""The ends of a lane, by hand: what somebody who is no node may say."""

from __future__ import annotations

import asyncio

from django_hacache.link.framing import FrameReader, frame
from django_hacache.node.transport.authentication import proof
from django_hacache.node.transport.authentication.credentials import EXTENSION_VERSION
from django_hacache.wire import cache_pb2 as pb
from tests.node_process import TOKEN


class Frames:
    """The payloads that come on a connection, without the empty ones."""

    def __init__(self, reader):
        self._reader = reader
        self._frames = FrameReader(200 << 20)
        self._waiting = []

    async def next(self):
        async with asyncio.timeout(10):
            while not self._waiting:
                data = await self._reader.read(1 << 16)
                if not data:
                    raise EOFError
                self._waiting += [payload for payload in self._frames.feed(data) if payload]
        return self._waiting.pop(0)


def hello_of(me, to, at, **changed):
    """How the node at `me` begins a lane to the one at `peer`."""
    known = {"addr": me, "peer": to, "port": at, "version": EXTENSION_VERSION, "nonce": b"n" * 32}
    return pb.LaneHello(**known | changed)


async def opened(reader, writer, hello, token=TOKEN):
    """Open a lane; returns what the acceptor says in the end."""
    frames, said = Frames(reader), hello.SerializeToString()
    writer.write(frame(said))
    answer = pb.Ack.FromString(await frames.next())
    if answer.WhichOneof("method") != "lane_challenge":
        return answer
    proven = proof.proof(token, proof.OPENER, said, answer.lane_challenge.nonce)
    writer.write(frame(pb.LaneProof(proof=proven).SerializeToString()))
    return pb.Ack.FromString(await frames.next())


async def accepted(reader, writer, greeting, token=TOKEN):
    """Take a lane, as a node that says `greeting` in the end."""
    frames = Frames(reader)
    hello = await frames.next()
    writer.write(frame(pb.Ack(lane_challenge=pb.LaneChallenge(nonce=b"c" * 32)).SerializeToString()))
    await frames.next()
    greeting.lane_proof = proof.proof(token, proof.ACCEPTOR, hello, b"c" * 32)
    writer.write(frame(greeting.SerializeToString()))
