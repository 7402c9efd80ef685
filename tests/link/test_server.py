from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import stat

import pytest

from django_hacache.exceptions import ConfigurationError, LinkError
from django_hacache.link.blocking import NodeClient
from django_hacache.link.framing import FRAME_BYTES_MAX, HEADER, FrameReader, frame
from django_hacache.link.server import LinkServer
from django_hacache.wire import cache_pb2 as pb
from tests.link.requests import insert, soon


def connect(path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(20)
    connection.connect(str(path))
    return connection


def hung_up(connection: socket.socket, *, answers: bool = True) -> bool:
    """Wait for the end of the connection; False where an answer comes and none should."""
    try:
        while connection.recv(65536):
            if not answers:
                return False
    except ConnectionResetError:
        pass
    return True


def still_serves(path) -> bool:
    client = NodeClient(path)
    try:
        return client.request(insert(), deadline=soon()).put_ack.mod_res
    finally:
        client.close()


def test_the_socket_is_for_its_user_only(node, path):
    mode = path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_process_of_another_user_is_turned_away(node, path):
    path.parent.chmod(0o777)
    path.chmod(0o777)
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            os.setuid(65534)
            with connect(path) as connection:
                with contextlib.suppress(BrokenPipeError):
                    connection.sendall(frame(insert().SerializeToString()))
                status = 0 if hung_up(connection, answers=False) else 1
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    path.parent.chmod(0o700)
    assert still_serves(path)


@pytest.mark.parametrize("seed", range(20))
def test_garbage_ends_its_own_connection_only(node, path, seed):
    with connect(path) as good, connect(path) as bad:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            bad.sendall(b"\xff" + random.Random(seed).randbytes(5000))
        assert hung_up(bad)
        good.sendall(frame(insert().SerializeToString()))
        assert good.recv(65536)


def test_a_payload_that_does_not_parse_ends_its_connection(node, path):
    with connect(path) as bad:
        bad.sendall(frame(b"\xff\xff\xff"))
        assert hung_up(bad)
    assert still_serves(path)


def test_an_impossible_length_ends_its_connection(node, path):
    with connect(path) as bad:
        bad.sendall(HEADER.pack(FRAME_BYTES_MAX + 1))
        assert hung_up(bad)
    assert still_serves(path)


def test_half_a_frame_harms_nobody(node, path):
    with connect(path) as bad:
        bad.sendall(frame(insert().SerializeToString())[:-1])
    assert still_serves(path)


def test_an_empty_request_reaches_the_handler(node, path):
    with connect(path) as connection:
        connection.sendall(frame(b""))
        assert connection.recv(65536)


def test_a_worker_that_does_not_read_its_answers_is_disconnected(node, path):
    request = frame(insert("big answer").SerializeToString())
    with connect(path) as deaf:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while True:
                deaf.sendall(request)
        assert hung_up(deaf)
    assert still_serves(path)


def test_the_socket_file_of_a_dead_node_is_replaced(node, start_node, path):
    node.kill()
    node.wait()
    assert path.exists()
    start_node()
    assert still_serves(path)


def ignore(request, reply):
    pass


def test_a_second_node_on_the_same_socket_is_refused(node, path):
    second = LinkServer(path, ignore, max_request_bytes=1000)
    with pytest.raises(LinkError, match=str(path)):
        asyncio.run(second.start())
    assert still_serves(path)


def test_a_file_that_is_no_socket_is_not_removed(path):
    path.write_text("precious")
    with pytest.raises(LinkError, match=str(path)):
        asyncio.run(LinkServer(path, ignore, max_request_bytes=1000).start())
    assert path.read_text() == "precious"


def test_a_path_that_no_unix_socket_can_have_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="107"):
        LinkServer(tmp_path / ("x" * 100), ignore, max_request_bytes=1000)


def test_closing_removes_the_socket_and_ends_the_connections(path):
    replies = []

    async def scenario():
        asked = asyncio.Event()

        def handle(request, reply):
            replies.append(reply)
            asked.set()

        server = LinkServer(path, handle, max_request_bytes=1000)
        await server.start()
        with connect(path) as connection:
            connection.sendall(frame(insert().SerializeToString()))
            await asked.wait()
            await server.close()
            assert await asyncio.to_thread(hung_up, connection)
        assert not path.exists()
        # A reply that comes too late is dropped.
        replies[0](pb.Ack())

    asyncio.run(scenario())


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine in one of the two event loops that a node may have."""
    return asyncio.run if request.param == "asyncio" else pytest.importorskip("uvloop").run


def test_what_was_sent_before_it_closes_is_answered_and_nothing_else_is_taken(path, run):
    replies = []

    async def scenario():
        asked = asyncio.Event()

        def handle(request, reply):
            replies.append((request.insert.req_id, reply))
            asked.set()

        server = LinkServer(path, handle, max_request_bytes=1000)
        await server.start()
        with connect(path) as idle, connect(path) as busy:
            first, second, third = insert(), insert(), insert()
            busy.sendall(frame(first.SerializeToString()))
            await asked.wait()
            busy.sendall(frame(second.SerializeToString()))
            closing = asyncio.ensure_future(server.close(patience_s=3600))
            assert await asyncio.to_thread(hung_up, idle, answers=False)
            with pytest.raises(BrokenPipeError):
                busy.sendall(frame(third.SerializeToString()))
            assert not path.exists()
            while len(replies) < 2:  # noqa: ASYNC110 - a handler is no coroutine
                await asyncio.sleep(0)
            assert not closing.done()
            for req_id, reply in replies:
                reply(pb.Ack(put_ack=pb.PutAck(req_id=req_id)))
            await closing
            answers = FrameReader(1000)
            found = []
            while data := busy.recv(65536):
                found += [pb.Ack.FromString(payload).put_ack.req_id for payload in answers.feed(data)]
        assert found == [first.insert.req_id, second.insert.req_id]

    run(asyncio.wait_for(scenario(), 20))


def test_closing_waits_no_longer_for_answers_than_it_is_told_to(path, run):
    async def scenario():
        asked = asyncio.Event()
        server = LinkServer(path, lambda request, reply: asked.set(), max_request_bytes=1000)
        await server.start()
        with connect(path) as connection:
            connection.sendall(frame(insert().SerializeToString()))
            await asked.wait()
            await server.close(patience_s=0.05)
            assert await asyncio.to_thread(hung_up, connection)

    run(asyncio.wait_for(scenario(), 20))


def test_what_a_connection_does_wrong_is_told_with_its_reason_alone(path, caplog):
    """The reason is the same for all that do the same, whatever they send: it can be said once."""
    told = []

    async def scenario():
        server = LinkServer(
            path, ignore, max_request_bytes=1000, complain=lambda reason, message: told.append(reason)
        )
        await server.start()
        for seed in range(5):
            with connect(path) as bad:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    bad.sendall(b"\xff" + random.Random(seed).randbytes(5000))
                assert await asyncio.to_thread(hung_up, bad)
        await server.close()

    asyncio.run(scenario())
    assert told == ["bytes"] * 5
    assert caplog.messages == []


@pytest.mark.parametrize("replaced", [True, False])
def test_a_server_knows_whether_its_socket_file_is_there_still(path, replaced):
    async def scenario():
        server = LinkServer(path, ignore, max_request_bytes=1000)
        assert not server.lost()
        await server.start()
        assert not server.lost()
        path.rename(path.with_name("aside"))
        if replaced:
            path.touch()
        assert server.lost()
        await server.close()
        # It ends because it was told to.
        assert not server.lost()

    asyncio.run(scenario())
