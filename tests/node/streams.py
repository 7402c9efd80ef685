"""Streams to a node, as programs that are no nodes open them."""

from __future__ import annotations

import queue
from contextlib import contextmanager

import grpc

from django_hacache.wire import cache_pb2
from tests.node_process import TOKEN

METHOD = "/cache.Cache/StreamValues"
METADATA = (("authorization", TOKEN),)


class Stream:
    """One stream; requests are sent as they are, answers come back parsed by `schema`."""

    def __init__(self, addr, metadata=METADATA, schema=cache_pb2):
        options = [
            ("grpc.max_send_message_length", 200 << 20),
            ("grpc.max_receive_message_length", 200 << 20),
        ]
        self._schema = schema
        self._channel = grpc.insecure_channel(addr, options)
        self._requests = queue.SimpleQueue()
        self._call = self._channel.stream_stream(METHOD)(iter(self._requests.get, None), metadata=metadata)

    def send(self, request):
        self._requests.put(request if isinstance(request, bytes) else request.SerializeToString())

    def receive(self):
        return self._schema.Ack.FromString(next(self._call))

    def ask(self, **request):
        self.send(self._schema.CacheRequest(**request))
        return self.receive()

    def say_no_more(self):
        self._requests.put(None)

    def rest(self):
        """What comes until the node ends the stream."""
        return [self._schema.Ack.FromString(raw) for raw in self._call]

    def end(self):
        """The status with which the node ends the stream."""
        try:
            self.rest()
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    def close(self):
        self.say_no_more()
        self._call.cancel()
        self._channel.close()


@contextmanager
def streams():
    """What opens streams; they are closed at the end of the block."""
    opened = []

    def connect(addr, **arguments):
        opened.append(Stream(addr, **arguments))
        return opened[-1]

    yield connect
    for stream in opened:
        stream.close()
