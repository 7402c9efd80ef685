"""What workers have begun to send: it takes bounded memory, keeps nobody else away, and is taken once there is room."""

import asyncio

from django_hacache.link.framing import HEADER, frame
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


def test_forty_halves_of_large_requests_take_as_much_memory_as_a_few_and_all_become_whole(tmp_path):
    async def scenario():
        said = []
        server = LinkServer(
            tmp_path / "s", answer, max_request_bytes=LARGEST, complain=lambda *told: said.append(told)
        )
        await server.start()
        begun = server._begun
        large = frame(request(LARGEST - 1000))
        ends = [await asyncio.open_unix_connection(str(tmp_path / "s")) for _ in range(COUNT)]
        for _, writer in ends:
            writer.write(large[:-10])
        await eventually(lambda: len(begun._paused) > COUNT // 2)
        assert begun.bytes <= (BEGUN_REQUESTS + 1) * LARGEST + COUNT * READ
        # Who asks for little is not kept waiting by them.
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(frame(request(10)))
        assert await answered(reader)
        writer.close()
        for _, one in ends:
            one.write(large[-10:])
        assert all([await answered(reader) for reader, _ in ends])
        assert begun.bytes == 0
        assert not begun._timers
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
        await eventually(lambda: server._begun.bytes > 0)
        writer.close()
        await eventually(lambda: server._begun.bytes == 0)
        await server.close()

    asyncio.run(scenario())
