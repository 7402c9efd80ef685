"""What workers have begun to send: it takes bounded memory, keeps nobody else away, and is taken once there is room."""

import asyncio
import gc
import sys

import pytest
import uvloop

from django_hacache.link.begun import Begun
from django_hacache.link.framing import HEADER, FrameReader, frame
from django_hacache.link.server import BEGUN_REQUESTS, LinkServer
from django_hacache.wire import cache_pb2 as pb

LARGEST = 2 << 20
# What one connection may bring in one read, before anybody knows that it is too much.
READ = 256 << 10
COUNT = 40


def request(size):
    return pb.CacheRequest(
        insert=pb.Insert(cache_name="c", value=bytes(size), req_id="r")
    ).SerializeToString()


def answer(_request, reply):
    reply(pb.Ack(put_ack=pb.PutAck(req_id="r", mod_res=True)))


async def answered(reader):
    header = await asyncio.wait_for(reader.readexactly(HEADER.size), 20)
    return pb.Ack.FromString(await reader.readexactly(*HEADER.unpack(header))).put_ack.mod_res


async def eventually(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what it waits for tells nobody
            await asyncio.sleep(0.01)


def kept():
    """Of each connection that is not forgotten yet: the bytes that are kept of what it has begun."""
    return [one.waiting for one in gc.get_objects() if isinstance(one, FrameReader)]


def test_forty_halves_of_large_requests_take_as_much_memory_as_a_few_and_all_become_whole(tmp_path):
    async def scenario():
        said = []
        server = LinkServer(
            tmp_path / "s", answer, max_request_bytes=LARGEST, complain=lambda *told: said.append(told)
        )
        await server.start()
        begun = server.begun
        large = frame(request(LARGEST - 1000))
        ends = [await asyncio.open_unix_connection(str(tmp_path / "s")) for _ in range(COUNT)]
        for _, writer in ends:
            writer.write(large[:-10])
        await eventually(lambda: len(begun) == COUNT)
        assert LARGEST <= begun.bytes <= BEGUN_REQUESTS // 2 * LARGEST  # they are of one process
        assert sum(kept()) <= BEGUN_REQUESTS // 2 * LARGEST + COUNT * READ
        # Who asks for little is not kept waiting by them.
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(frame(request(10)))
        assert await answered(reader)
        writer.close()
        for _, one in ends:
            one.write(large[-10:])
        assert all([await answered(reader) for reader, _ in ends])
        assert begun.bytes == len(begun) == 0
        for _, one in ends:
            one.close()
        await server.close()
        assert not said

    asyncio.run(scenario())


def test_the_half_of_a_worker_that_has_gone_is_forgotten(tmp_path):
    async def scenario():
        server = LinkServer(tmp_path / "s", answer, max_request_bytes=LARGEST)
        await server.start()
        _, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(frame(request(1000))[:-10])
        await eventually(lambda: len(server.begun) == 1)
        writer.close()
        await eventually(lambda: len(server.begun) == 0)
        await server.close()

    asyncio.run(scenario())


HALVES = """
import select, socket, sys
path, data, ends = sys.argv[1], bytes.fromhex(sys.argv[2]) + bytes(1 << 20), []
for _ in range(200):
    end = socket.socket(socket.AF_UNIX)
    end.connect(path)
    end.setblocking(False)
    end.send(data)
    ends.append(end)
print("begun", flush=True)
sys.stdin.read()
"""


def test_what_another_process_has_begun_and_left_keeps_no_worker_waiting(tmp_path):
    async def scenario():
        server = LinkServer(tmp_path / "s", answer, max_request_bytes=LARGEST, complain=lambda *_: None)
        server.begun = Begun(BEGUN_REQUESTS * LARGEST, lambda *_: None, grant_s=600)
        await server.start()
        large = frame(request(LARGEST - 1000))
        halves = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            HALVES,
            str(tmp_path / "s"),
            large[:100].hex(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        await asyncio.wait_for(halves.stdout.readline(), 60)
        await eventually(lambda: len(server.begun) == 200)
        for _ in range(3):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
            writer.write(large)
            assert await answered(reader)
            writer.close()
        assert len(server.begun) == 200
        halves.stdin.close()
        await halves.wait()
        await eventually(lambda: len(server.begun) == 0)
        await server.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("uvloop_runs", [False, True])
def test_what_was_begun_is_gone_with_its_connection_and_waits_for_no_collector(tmp_path, uvloop_runs):
    async def scenario():
        server = LinkServer(tmp_path / "s", answer, max_request_bytes=LARGEST, complain=lambda *_: None)
        await server.start()
        _, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(frame(request(LARGEST - 1000))[: LARGEST // 2])
        await eventually(lambda: any(kept()))
        writer.transport.abort()
        await eventually(lambda: not kept())
        await server.close()

    gc.collect()
    gc.disable()
    try:
        (uvloop if uvloop_runs else asyncio).run(scenario())
    finally:
        gc.enable()
