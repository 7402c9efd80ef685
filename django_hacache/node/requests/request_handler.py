"""RequestHandler: checks the requests of workers and clients, answers what it can, and submits the changes.

It answers an invalid request by a sentence, and changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from django_hacache.changes.codec import carried_bytes
from django_hacache.consensus.messages import AckLevel, Refusal, Since
from django_hacache.node.encoding.acks import ack_of, ack_of_stored, change_of, level_of, refusal_ack
from django_hacache.node.requests.slices import EARLIER, Gathering, slices_of
from django_hacache.node.requests.validation import (
    ORDINARY,
    REQ_ID_CHARACTERS_MAX,
    SHOWN_CHARACTERS,
    Bounds,
    Refused,
    check_key,
    checked,
)
from django_hacache.values.serializers import marked_foreign, without_mark
from django_hacache.wire import cache_pb2 as pb

if TYPE_CHECKING:
    from django_hacache.conf import CacheOptions
    from django_hacache.consensus.ready import Completion

# Called once for each request; with None where there is nothing to say.
Reply = Callable[[pb.Ack | None], None]

DEFAULT_TIMEOUT_MS = 5000
TIMEOUT_MS_MAX = 3_600_000
ANSWER_MARGIN_MS = 250
# Base changes carry ids that need be unique on their stream only, and may safely happen again.
BASE_CHANGES = frozenset({"put", "insert", "del", "remove"})


class Token(NamedTuple):
    """Who waits for the outcome of a change."""

    request: pb.CacheRequest
    req_id: str
    reply: Reply
    # A worker of this host; else a program outside the site, which knows the base schema.
    worker: bool = True


class Desk(Protocol):
    """What a RequestHandler needs from the runtime."""

    def read(self, cache: str, entry: str) -> bytes | memoryview | None: ...
    def submit(
        self,
        req_id: str,
        request: pb.CacheRequest,
        level: AckLevel | None,
        token: Token | None,
        timeout: int,
        since: Since,
    ) -> bool: ...
    def has_quorum(self) -> bool: ...
    def met_candidate(self, url: str) -> None: ...


class Informant(Protocol):
    """Who knows how the cluster is."""

    def greeting(self) -> pb.Ack: ...
    def health(self) -> pb.HealthAck: ...
    def tell(self, *, local: bool, reply: Reply) -> None: ...


class RequestHandler:
    def __init__(self, desk: Desk, informant: Informant, caches: Mapping[str, CacheOptions]) -> None:
        self._desk = desk
        self._informant = informant
        self._caches = caches
        self._nonce = os.urandom(8).hex()
        self._taken = 0
        # At level direct, of the workers of this host.
        self.lost_writes = 0

    def take(self, request: pb.CacheRequest, reply: Reply, *, trusted_ids: bool) -> None:
        """Answer or submit a request; `reply` is called once.

        `trusted_ids`: the sender is a worker. Its req_ids are unique in the cluster, so that a retry takes effect once.
        """
        method = request.WhichOneof("method")
        if trusted_ids:
            self.lost_writes += request.lost_writes
        try:
            match method:
                case "get":
                    reply(self._get(request.get, worker=trusted_ids))
                case "mgmt_req":
                    self._manage(request.mgmt_req, reply)
                case "status":
                    self._informant.tell(local=request.status.local, reply=reply)
                case None:
                    raise Refused(pb.ERROR_INVALID, _why_empty(request))
                case "append" | "append_ack" | "snapshot_chunk" | "snapshot_ack":
                    raise Refused(
                        pb.ERROR_INVALID, f"{method} is for nodes of the cluster; this sender names none"
                    )
                case _:
                    self._change(method, request, reply, trusted_ids=trusted_ids)
        except Refused as refused:
            req_id = _req_id_of(request, method)
            reply(pb.Ack(error=pb.Error(error=str(refused), code=refused.code, req_id=req_id)))

    def complete(self, completion: Completion) -> None:
        """Tell whoever waits."""
        token: Token | None = completion.token
        if token is None:
            return
        if completion.refusal is not None:
            token.reply(refusal_ack(token.req_id, completion.refusal, completion.reason))
            return
        ack = ack_of_stored(token.request, token.req_id, completion.outcome)
        if ack is not None and not token.worker and token.request.HasField("remove"):
            # There a removal is done when the entry is not there, whether it was before or not.
            ack.del_ack.mod_res = True
        token.reply(ack or refusal_ack(token.req_id, Refusal.OUTCOME_UNKNOWN))

    def _get(self, get: pb.Get, *, worker: bool) -> pb.Ack:
        self._options(get.cache_name)
        check_key(get.entry)
        ack = pb.GetAck(cache_name=get.cache_name, entry=get.entry)
        value = self._desk.read(get.cache_name, get.entry)
        if value is not None:
            ack.value = bytes(value) if worker else without_mark(value)
        return pb.Ack(get_ack=ack)

    def _manage(self, request: pb.MgmtRequest, reply: Reply) -> None:
        match request.WhichOneof("method"):
            case "ping":
                reply(pb.Ack(mgmt_ack=pb.MgmtAck(pong=pb.Pong())))
            case "health":
                reply(pb.Ack(mgmt_ack=pb.MgmtAck(health_ack=self._informant.health())))
            case None:
                raise Refused(pb.ERROR_INVALID, "the mgmt_req has no method; expected one of MgmtRequest's")
            case "leader_req":
                self._desk.met_candidate(request.leader_req.addr)
                reply(self._leader(request.leader_req.election_ts))
            case "leader_dead":
                self._desk.met_candidate(request.leader_dead.vote_host)
                reply(self._leader(request.leader_dead.election_ts))
            case _:
                # Who is no node of this cluster takes no part in elections. An answer would be answered in turn.
                reply(None)

    def _leader(self, candidate_ts: int) -> pb.Ack:
        """Who leads, for a program that asks as a candidate: of two, those follow whoever asked first."""
        ack = self._informant.greeting()
        info = ack.mgmt_ack.leader_info
        if candidate_ts > 0:
            info.election_ts = min(info.election_ts, candidate_ts - 1)
        return ack

    def _change(self, method: str, request: pb.CacheRequest, reply: Reply, *, trusted_ids: bool) -> None:
        change = change_of(request)
        changes = self._checked(change, EARLIER if trusted_ids else ORDINARY)
        told = change.req_id
        if not trusted_ids:
            _mark(change)
        if not told or not (trusted_ids or method not in BASE_CHANGES):
            self._taken += 1
            change.req_id = f"{self._nonce}-{self._taken}"
        parts = slices_of(request, changes) if method == "batch" else [request]
        if len(parts) == 1:
            self._submit(method, request, told, reply, trusted_ids=trusted_ids)
            return
        gathering = Gathering(told, len(parts), reply)
        for position, part in enumerate(parts):
            self._submit(method, part, told, partial(gathering.take, position), trusted_ids=trusted_ids)

    def _submit(
        self, method: str, request: pb.CacheRequest, told: str, reply: Reply, *, trusted_ids: bool
    ) -> None:
        change = change_of(request)
        level = level_of(change)
        since = Since(request.since_index, request.since_generation)
        timeout = min(request.timeout_ms or DEFAULT_TIMEOUT_MS, TIMEOUT_MS_MAX)
        # A refusal that says why should arrive before the sender gives up by itself.
        timeout -= min(timeout // 10, ANSWER_MARGIN_MS)
        if level is None and not self._desk.has_quorum():
            if method in {"put", "del"}:
                reply(refusal_ack(told, Refusal.NO_QUORUM))
                return
            # A worker says how long it waits: that is better spent than on a promise that may come to nothing.
            level = AckLevel.LEADER
        if level is None:
            changes = len(change.changes) if isinstance(change, pb.Batch) else 1
            if self._desk.submit(change.req_id, request, None, None, timeout, since):
                reply(ack_of(request, told, pb.Outcome(mod_res=[True] * changes)))
            else:
                reply(refusal_ack(told, Refusal.BUSY))
            return
        token = Token(request, told, reply, trusted_ids)
        self._desk.submit(change.req_id, request, level, token, timeout, since)

    def _checked(self, change: Any, bounds: Bounds) -> Sequence[Any]:
        changes = checked(change, bounds)
        for one in changes:
            options = self._caches.get(one.cache_name) or self._options(one.cache_name)
            if carried_bytes(one) > options.max_value_bytes:
                raise Refused(
                    pb.ERROR_TOO_LARGE,
                    f"a value of {carried_bytes(one)} bytes; cache {one.cache_name!r} takes at most "
                    f"{options.max_value_bytes} (MAX_VALUE_SIZE, or a sixteenth of the file system of LOCATION)",
                )
        return changes

    def _options(self, cache: str) -> CacheOptions:
        options = self._caches.get(cache)
        if options is None:
            known = ", ".join(sorted(self._caches)) or "none"
            shown = cache[:SHOWN_CHARACTERS]
            raise Refused(pb.ERROR_UNKNOWN_CACHE, f"unknown cache {shown!r}; this node has: {known}")
        return options


def _mark(change: Any) -> None:
    """Mark the values of a program outside the site as no values of ours: no worker may unpickle them."""
    if isinstance(change, pb.Put | pb.Insert):
        change.value = marked_foreign(change.value)
    elif isinstance(change, pb.Batch):
        for one in change.changes:
            if one.HasField("insert"):
                _mark(one.insert)


def _why_empty(request: pb.CacheRequest) -> str:
    if request.bundle:
        return "a bundle is for nodes of the cluster, and holds no further one; send its requests one by one"
    return "the request has no method; expected one of CacheRequest's"


def _req_id_of(request: pb.CacheRequest, method: str | None) -> str:
    part = getattr(request, method) if method else None
    return str(getattr(part, "req_id", ""))[:REQ_ID_CHARACTERS_MAX]
