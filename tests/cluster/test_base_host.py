"""Two nodes and a program of the base protocol in the third place of HA_HOSTS."""

from __future__ import annotations

import threading
from concurrent import futures
from contextlib import contextmanager

import grpc

from tests.node.base_client.schema import base
from tests.node.streams import METHOD
from tests.waiting import eventually


@contextmanager
def base_program(addr):
    """Takes streams, greets, and says no more."""
    ended = threading.Event()

    def serve(requests, context):
        context.add_callback(ended.set)
        yield base.Ack(mgmt_ack=base.MgmtAck(leader_info=base.LeaderInfo())).SerializeToString()
        ended.wait(60)

    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            assert details.method == METHOD
            return grpc.stream_stream_rpc_method_handler(serve)

    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Handler()])
    server.add_insecure_port(addr)
    server.start()
    yield
    ended.set()
    server.stop(None).wait()


def test_the_nodes_work_and_say_which_host_has_no_vote(new_cluster):
    cluster = new_cluster()
    third = cluster.others(cluster.leader())[0]
    nodes = cluster.others(third)
    third.stop()
    with base_program(third.addr):
        for node in nodes:
            assert eventually(
                lambda node=node: {host.addr: host for host in node.status().hosts}[third.addr].is_base
            )
            errors = [line for line in node.log.read_text().splitlines() if " ERROR " in line]
            assert len(errors) == 1
            assert f"{third.addr} is in HA_HOSTS and speaks the base protocol only" in errors[0]
        nodes[0].worker.set("key", 1)
        assert nodes[0].status().health == "degraded"
