from __future__ import annotations

import os
import select
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from django_hacache.exceptions import CacheUnavailable, ConfigurationError, OutcomeUnknown
from django_hacache.link.blocking import IDLE_MAX, NodeClient
from django_hacache.wire import cache_pb2 as pb
from tests.link.requests import insert, soon
from tests.link.scripted import ScriptedNode


@pytest.fixture
def client(path):
    client = NodeClient(path)
    yield client
    client.close()


def served_by(ack: pb.Ack) -> int:
    return int(ack.put_ack.value)


def test_a_request_is_answered_over_one_connection(connections, node, client):
    first = insert()
    assert client.request(first, deadline=soon()).put_ack.req_id == first.insert.req_id
    (connection,) = connections()
    assert served_by(client.request(insert(), deadline=soon())) == node.pid
    assert connections() == {connection}


def test_a_request_without_req_id_is_answered_too(node, client):
    status = pb.CacheRequest(status=pb.Status())
    assert client.request(status, deadline=soon()).status_ack.addr == "echo"


def test_a_value_and_an_answer_of_many_packets_go_through(node, client):
    assert client.request(insert(value=bytes(900_000)), deadline=soon()).put_ack.mod_res
    assert len(client.request(insert("big answer"), deadline=soon()).put_ack.value) == 300_000
    assert served_by(client.request(insert(), deadline=soon())) == node.pid


def test_a_request_over_the_nodes_limit_is_refused_and_the_connection_stays(connections, node, client):
    client.request(insert(), deadline=soon())
    (connection,) = connections()
    ack = client.request(insert(value=bytes(2_000_000)), deadline=soon())
    assert ack.error.code == pb.ERROR_TOO_LARGE
    assert served_by(client.request(insert(), deadline=soon())) == node.pid
    assert connections() == {connection}


def test_a_restarted_node_is_reached_without_an_error(node, start_node, client):
    client.request(insert(), deadline=soon())
    node.kill()
    node.wait()
    successor = start_node()
    assert served_by(client.request(insert(), deadline=soon())) == successor.pid


def test_a_request_waits_for_a_node_that_is_starting(path, start_node, client):
    answers = []
    worker = threading.Thread(target=lambda: answers.append(client.request(insert(), deadline=soon())))
    worker.start()
    node = start_node()
    worker.join()
    assert served_by(answers[0]) == node.pid


def test_without_a_node_the_change_certainly_did_not_happen(client):
    with pytest.raises(CacheUnavailable) as failure:
        client.request(insert(), deadline=soon(0.05))
    assert not isinstance(failure.value, OutcomeUnknown)
    assert isinstance(failure.value, ConnectionError)


def test_a_deadline_in_the_past_sends_nothing(node, client):
    with pytest.raises(CacheUnavailable) as failure:
        client.request(insert(), deadline=time.monotonic() - 1)
    assert not isinstance(failure.value, OutcomeUnknown)
    assert served_by(client.request(insert(), deadline=soon())) == node.pid


def test_a_frozen_node_leaves_the_outcome_unknown_and_is_used_again_when_it_thaws(node, client):
    client.request(insert(), deadline=soon())
    os.kill(node.pid, signal.SIGSTOP)
    with pytest.raises(OutcomeUnknown):
        client.request(insert(), deadline=soon(0.1))
    os.kill(node.pid, signal.SIGCONT)
    assert served_by(client.request(insert(), deadline=soon())) == node.pid


def test_a_frozen_node_that_takes_no_more_bytes_has_not_seen_the_request(node, client):
    os.kill(node.pid, signal.SIGSTOP)
    with pytest.raises(CacheUnavailable) as failure:
        client.request(insert(value=bytes(16_000_000)), deadline=soon(0.2))
    assert not isinstance(failure.value, OutcomeUnknown)


def test_a_node_that_dies_before_it_answers_leaves_the_outcome_unknown(node, client):
    with pytest.raises(OutcomeUnknown):
        client.request(insert("die"), deadline=soon(0.1))


def test_a_late_answer_is_not_taken_for_the_next_ones(node, client):
    with pytest.raises(OutcomeUnknown):
        client.request(insert("late"), deadline=soon(0.05))
    request = insert()
    assert client.request(request, deadline=soon()).put_ack.req_id == request.insert.req_id


def test_the_same_request_is_sent_again_when_the_connection_breaks(path, client):
    """The second of two scripted nodes sees what the first had seen, and since when it may have happened."""
    request = insert()
    answer = pb.Ack(put_ack=pb.PutAck(req_id=request.insert.req_id, mod_res=True))
    with ScriptedNode(path, [b"", answer.SerializeToString()]) as node:
        assert client.request(request, deadline=soon(), since=(7, 5)) == answer
    assert [seen.insert for seen in node.seen] == 2 * [request.insert]
    assert [(seen.since_index, seen.since_generation) for seen in node.seen] == [(0, 0), (7, 5)]


def test_an_answer_that_does_not_parse_is_no_answer(path, client):
    with ScriptedNode(path, [b"\xff\xff\xff"]), pytest.raises(OutcomeUnknown):
        client.request(insert(), deadline=soon(0.1))


def test_a_path_that_no_unix_socket_can_have_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="x" * 100):
        NodeClient(tmp_path / ("x" * 100) / "node.sock")


@pytest.mark.parametrize("code", [pb.ERROR_NO_QUORUM, pb.ERROR_BUSY, pb.ERROR_NOT_LEADER])
def test_a_refusal_of_what_was_sent_before_says_that_the_outcome_is_unknown(path, client, code):
    """A node that was killed may have sent the change on; the one that comes after it knows nothing of that."""
    request = insert()
    refusal = pb.Ack(error=pb.Error(error="it did not happen", req_id=request.insert.req_id, code=code))
    with ScriptedNode(path, [b"", refusal.SerializeToString()]), pytest.raises(OutcomeUnknown):
        client.request(request, deadline=soon())


def test_a_refusal_of_what_was_sent_once_is_the_nodes_answer(path, client):
    request = insert()
    refusal = pb.Ack(error=pb.Error(error="no", req_id=request.insert.req_id, code=pb.ERROR_BUSY))
    with ScriptedNode(path, [refusal.SerializeToString()]):
        assert client.request(request, deadline=soon()) == refusal


def test_threads_that_ask_at_once_each_get_their_own_answer_over_a_few_connections(connections, node, client):
    def ask(_):
        request = insert()
        return client.request(request, deadline=soon()).put_ack.req_id == request.insert.req_id

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(400)))
    assert 1 <= len(connections()) <= 8


def test_a_signal_handler_that_asks_and_what_it_interrupts_each_get_their_own_answer(node, client, timer):
    asked = []

    def handler(*_):
        request = insert()
        asked.append(client.request(request, deadline=soon()).put_ack.req_id == request.insert.req_id)

    while len(asked) < 50:
        # Not one that repeats: where the machine is slow it leaves no time in between.
        timer(handler, after=0.001)
        request = insert()
        assert client.request(request, deadline=soon()).put_ack.req_id == request.insert.req_id
    assert all(asked)


class OfTheCaller(TimeoutError):
    """A limit of the caller's own, of the very type that a socket's is."""


@pytest.mark.parametrize("error", [OfTheCaller, ConnectionResetError, BlockingIOError, KeyboardInterrupt])
def test_what_a_signal_handler_raises_arrives_unchanged_and_nothing_is_sent_again(
    connections, path, client, timer, error
):
    raised = error("the caller's own")

    def handler(*_):
        raise raised

    with ScriptedNode(path, [None]) as node:
        timer(handler, after=0.05)
        with pytest.raises(error) as failure:
            client.request(insert(), deadline=soon())
        assert failure.value is raised
        assert connections() == set()
        node.hang_up()
    assert len(node.seen) == 1


def test_an_exception_that_comes_anywhere_in_a_request_arrives_and_leaves_no_answer_behind(
    node, client, interrupted
):
    def exchange():
        request = insert()
        assert client.request(request, deadline=soon()).put_ack.req_id == request.insert.req_id

    for _ in range(100):
        interrupted(OSError, exchange)


def test_an_answer_to_another_request_is_no_answer(path, client):
    other = pb.Ack(put_ack=pb.PutAck(req_id="another", mod_res=True)).SerializeToString()
    request = insert()
    own = pb.Ack(put_ack=pb.PutAck(req_id=request.insert.req_id, mod_res=True))
    with ScriptedNode(path, [other, own.SerializeToString()]):
        assert client.request(request, deadline=soon()) == own


def test_connections_from_before_select_was_replaced_are_not_used_again(
    connections, node, client, monkeypatch
):
    """As gevent and eventlet do where they are patched in late; eventlet takes poll away besides."""
    client.request(insert(), deadline=soon())
    (before,) = connections()
    waits = []

    def replaced(*arguments, select=select.select):
        waits.append(arguments)
        return select(*arguments)

    monkeypatch.setattr(select, "select", replaced)
    monkeypatch.delattr(select, "poll")
    assert served_by(client.request(insert(value=bytes(900_000)), deadline=soon())) == node.pid
    assert waits
    assert before not in connections()


def test_more_connections_than_are_worth_keeping_are_closed(connections, node, client):
    with ThreadPoolExecutor(2 * IDLE_MAX) as threads:
        list(threads.map(lambda _: client.request(insert(), deadline=soon()), range(20 * IDLE_MAX)))
    assert len(connections()) <= IDLE_MAX
