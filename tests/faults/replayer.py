"""Stands in the way of lanes: `python -m tests.faults.replayer SEED LISTEN-PORT HOST PORT`.

Passes frames on in both directions, and also twice, in another order, and again long after: those of lanes that have
ended, too, whose process may be gone. Prints a line when it listens; tells what it did when its input ends.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter, defaultdict, deque

from django_hacache.link.framing import FrameReader, frame
from django_hacache.wire import cache_pb2 as pb

FRAME_BYTES = 64 << 20
# Who opens the lane, and the greeting, with what each side proves before: these are as they are.
OPENING_FRAMES = 2
REMEMBERED = 5000
TWICE, SWAPPED, REPLAYED = 0.05, 0.05, 0.1


class Replayer:
    def __init__(self, seed: int, host: str, port: int) -> None:
        self._random = random.Random(seed)
        self._target = (host, port)
        self._seen: defaultdict[tuple[str, str], deque[bytes]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        self.done: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_node = await asyncio.open_connection(*self._target)
        hello: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        ways = [
            asyncio.create_task(self._pass_on("requests", reader, to_node[1], hello)),
            asyncio.create_task(self._pass_on("answers", to_node[0], writer, hello)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for end in (writer, to_node[1]):
            end.close()

    async def _pass_on(
        self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: asyncio.Future[str]
    ) -> None:
        frames, opening, held = FrameReader(FRAME_BYTES), OPENING_FRAMES, b""
        while data := await reader.read(1 << 16):
            for payload in frames.feed(data):
                if opening:
                    if way == "requests" and not hello.done():
                        hello.set_result(pb.LaneHello.FromString(payload).addr)
                    opening -= bool(payload)
                    writer.write(frame(payload))
                    continue
                held = self._twist(self._seen[await hello, way], payload, held, writer)
            await writer.drain()

    def _twist(self, seen: deque[bytes], payload: bytes, held: bytes, writer: asyncio.StreamWriter) -> bytes:
        """Send a frame, and what else falls to it; returns one that has to wait for the next."""
        chance = self._random.random
        if payload and not held and chance() < SWAPPED:
            self.done["swapped"] += 1
            return payload
        writer.write(frame(payload))
        if held:
            writer.write(frame(held))
        if payload and chance() < TWICE:
            self.done["twice"] += 1
            writer.write(frame(payload))
        if seen and chance() < REPLAYED:
            self.done["replayed"] += 1
            writer.write(frame(self._random.choice(seen)))
        if payload:
            seen.append(payload)
        return b""


async def main() -> None:
    seed, listen, host, port = sys.argv[1:]
    replayer = Replayer(int(seed), host, int(port))
    await asyncio.start_server(replayer.serve, "0.0.0.0", int(listen))
    print("listening", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps(replayer.done), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
