"""Requests that are sent one after the other over one connection, and answered later."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

import pytest

from django_hacache.link.asynchronous import acarried_out
from django_hacache.link.blocking import NodeClient, carried_out
from django_hacache.link.framing import frame
from django_hacache.link.pipeline import Pipeline, Wait
from tests.link.requests import insert, soon


class Noted(Pipeline[str]):
    def __init__(self, take, give_back=None):
        super().__init__(take, give_back)
        self.answers, self.losses = [], []

    def answered(self, item, ack):
        self.answers.append(item)

    def given_up(self, items, cause):
        self.losses += items


def test_a_thread_waits_for_another_one_that_has_just_taken_its_turn(node, path):
    client = NodeClient(path)
    pipeline = Noted(client.take, client.give_back)
    taken, sends = threading.Event(), threading.Event()

    def send():
        request = insert()
        name = request.insert.req_id
        carried_out(pipeline.hand_over(name, request.SerializeToString(), name, soon()))
        return name

    def take_turn():
        with pipeline._lock:
            taken.set()
            sends.wait(20)

    first = send()
    other = threading.Thread(target=take_turn)
    other.start()
    taken.wait(20)
    ending = threading.Timer(0.05, sends.set)
    ending.start()
    second = send()
    other.join()
    ending.join()
    assert carried_out(pipeline.settle(soon()))
    assert pipeline.answers == [first, second]
    pipeline.close()
    client.close()


class Slow:
    """A connection that takes so many bytes at a time."""

    def __init__(self, *takes):
        self.taken = b""
        self._takes = list(takes)

    def send_some(self, data):
        count = min(len(data), self._takes.pop(0))
        self.taken += bytes(data[:count])
        return count

    def receive_some(self):
        return b""

    def close(self):
        pass


def test_a_request_that_was_sent_whole_does_not_wait_for_the_rest_of_the_next_one():
    connection = Slow(3, 100, 3, 0)
    pipeline = Noted(lambda: connection)
    first, second = (pipeline.hand_over(name, b"payload", name, soon()) for name in ("first", "second"))
    assert next(first).writable
    assert next(second).writable
    assert connection.taken.startswith(frame(b"payload"))
    with pytest.raises(StopIteration):
        first.send(True)
    assert list(pipeline.unanswered) == ["first", "second"]


class Ended:
    """One end of a pair of sockets, as a connection."""

    def __init__(self):
        self.here, self.there = socket.socketpair()
        self.descriptor = self.here.fileno()

    def readable(self, seconds):
        return (yield Wait(self, False, seconds))

    def close(self):
        self.here.close()
        self.there.close()


def test_all_tasks_that_wait_for_a_connection_go_on_when_it_can_be_read():
    connection = Ended()

    async def scenario():
        tasks = [asyncio.create_task(acarried_out(connection.readable(60))) for _ in range(3)]
        await asyncio.sleep(0)
        connection.there.send(b"answer")
        return await asyncio.wait_for(asyncio.gather(*tasks), 20)

    assert asyncio.run(scenario()) == [True] * 3
    connection.close()


def test_a_task_that_waits_leaves_the_number_of_a_closed_connection_to_whoever_has_it_next():
    connection, other = Ended(), Ended()

    async def scenario():
        loop, seen = asyncio.get_running_loop(), asyncio.Event()
        task = asyncio.create_task(acarried_out(connection.readable(0.01)))
        await asyncio.sleep(0)
        connection.close()
        number = os.dup2(other.descriptor, connection.descriptor)
        loop.add_reader(number, seen.set)
        await task
        other.there.send(b"for the other")
        await asyncio.wait_for(seen.wait(), 20)
        loop.remove_reader(number)
        os.close(number)

    asyncio.run(scenario())
    other.close()
