"""A process with a LinkServer that answers at once: `python -m tests.link.echo_node SOCKET`.

Insert: PutAck whose value is the process id; an entry named "late" is answered only after the next request,
one named "never" not at all, and "die" ends the process. Status: the address "echo".
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from django_hacache.link.server import LinkServer
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_REQUEST_BYTES = 1024 * 1024


async def serve(path: Path) -> None:
    late: list[Callable[[], None]] = []

    def handle(request: pb.CacheRequest, reply: Callable[[pb.Ack], None]) -> None:
        if request.HasField("status"):
            reply(pb.Ack(status_ack=pb.StatusAck(addr="echo")))
            return
        insert = request.insert
        value = str(os.getpid()).encode()
        if insert.entry == "big answer":
            value = bytes(300_000)
        ack = pb.Ack(put_ack=pb.PutAck(req_id=insert.req_id, mod_res=True, value=value))
        if insert.entry == "die":
            os._exit(1)
        elif insert.entry == "late":
            late.append(lambda: reply(ack))
        elif insert.entry != "never":
            reply(ack)
            while late:
                late.pop()()

    server = LinkServer(path, handle, max_request_bytes=MAX_REQUEST_BYTES)
    await server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
