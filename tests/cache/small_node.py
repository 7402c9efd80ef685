"""A node made of a replica and a socket only: `python -m tests.cache.small_node LOCATION`.

It takes every change at once and grants leases to itself. Some keys make it answer what a whole cluster
answers only in trouble: see TROUBLE. It shows what workers make of such answers; how a real node comes to
give them is tested elsewhere.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django_hacache.link.server import LinkServer
from django_hacache.replica.clock import NEVER, boottime_ns
from django_hacache.replica.control import ControlPage
from django_hacache.replica.eviction import map_size_for
from django_hacache.replica.replica import Replica
from django_hacache.values.serializers import decode_integer, encode, integer_from_bytes, integer_to_bytes
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_hacache.replica.transaction import WriteTransaction

LEASE_NS = 300_000_000
# What one change takes of a processor in one turn.
WORK_S = 0.15
TROUBLE = {
    ":1:no quorum": pb.ERROR_NO_QUORUM,
    ":1:busy": pb.ERROR_BUSY,
    ":1:outcome unknown": pb.ERROR_OUTCOME_UNKNOWN,
    ":1:refused": pb.ERROR_INVALID,
    ":1:unknown cache": pb.ERROR_UNKNOWN_CACHE,
    ":1:too large": pb.ERROR_TOO_LARGE,
}


class SmallNode:
    def __init__(self, location: Path) -> None:
        self.replica = Replica.open(location, writable=True, map_size=map_size_for(256 * 1024 * 1024))
        self.page = ControlPage.create(location)
        self.server = LinkServer(location / "node.sock", self.handle, max_request_bytes=17 * 1024 * 1024)
        self.silent = False

    async def serve(self) -> None:
        await self.server.start()
        self.page.note_serving()
        while True:
            now = boottime_ns()
            self.page.note_alive(now)
            self.page.grant(now + LEASE_NS)
            self.page.set_writable_until(now + LEASE_NS)
            await asyncio.sleep(0.05)

    def handle(self, request: pb.CacheRequest, reply: Callable[[pb.Ack], None]) -> None:
        method = request.WhichOneof("method")
        assert method is not None
        body = getattr(request, method)
        code = TROUBLE.get(getattr(body, "entry", ""))
        if code is not None:
            reply(pb.Ack(error=pb.Error(error="as asked", req_id=body.req_id, code=code)))
            return
        if getattr(body, "entry", "") == ":1:much-work":
            done_at = time.thread_time() + WORK_S
            while time.thread_time() < done_at:
                pass
        if getattr(body, "entry", "") == ":1:ack level":
            # What the worker asked for comes back as the stored value.
            body.value = encode(body.ack_level.WhichOneof("ack_level"))
        with self.replica.write() as txn:
            if method == "batch":
                flags = [self.change(txn, part)[0] for part in body.changes]
                reply(pb.Ack(batch_ack=pb.BatchAck(req_id=body.req_id, mod_res=flags)))
                return
            effective, extra = self.change(txn, request)
        if method in ("remove", "clear"):
            reply(pb.Ack(del_ack=pb.DelAck(req_id=body.req_id, mod_res=effective)))
        else:
            reply(pb.Ack(put_ack=pb.PutAck(req_id=body.req_id, mod_res=effective, **extra)))

    def change(self, txn: WriteTransaction, request: Any) -> tuple[bool, dict[str, Any]]:
        kind = request.WhichOneof("method" if isinstance(request, pb.CacheRequest) else "change")
        body = getattr(request, kind)
        cache = body.cache_name
        if kind == "clear":
            txn.clear(cache)
            return True, {}
        key, item = body.entry, txn.item(cache, body.entry)
        expires_at = NEVER
        if kind in ("insert", "touch") and body.HasField("ttl_ms"):
            expires_at = boottime_ns() + body.ttl_ms * 1_000_000
        if kind == "remove":
            return txn.delete(cache, key), {}
        if kind == "touch":
            found = item is not None and txn.touch(
                cache, key, version=txn.next_version(), expires_at=expires_at
            )
            return found, {}
        if kind == "increment":
            if item is None:
                return False, {"reason": pb.REASON_ABSENT}
            number = decode_integer(item.value)
            if number is None:
                return False, {"reason": pb.REASON_NOT_AN_INTEGER}
            number += integer_from_bytes(body.delta)
            version = txn.next_version()
            txn.set(cache, key, encode(number), version=version, expires_at=NEVER, keep_ttl=True)
            return True, {"value": integer_to_bytes(number)}
        if body.condition == pb.CONDITION_ABSENT and item is not None:
            return False, {"reason": pb.REASON_PRESENT}
        if body.condition == pb.CONDITION_UNCHANGED and item is None:
            return False, {"reason": pb.REASON_ABSENT}
        if body.condition == pb.CONDITION_UNCHANGED and item.version != body.expected_version:
            return False, {"reason": pb.REASON_CHANGED}
        version = txn.next_version()
        txn.set(cache, key, body.value, version=version, expires_at=expires_at, keep_ttl=body.keep_ttl)
        return True, {}


if __name__ == "__main__":
    asyncio.run(SmallNode(Path(sys.argv[1])).serve())
