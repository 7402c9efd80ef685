from __future__ import annotations

import itertools
import time

from django_hacache.wire import cache_pb2 as pb

_number = itertools.count()


def insert(entry: str = "k", value: bytes = b"v") -> pb.CacheRequest:
    return pb.CacheRequest(
        insert=pb.Insert(cache_name="c", entry=entry, value=value, req_id=f"r{next(_number)}")
    )


def soon(seconds: float = 20) -> float:
    return time.monotonic() + seconds
