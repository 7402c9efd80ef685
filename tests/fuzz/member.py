"""Members that lie: whatever the other hosts of a cluster send, a node goes on, and keeps what its core promises."""

from __future__ import annotations

from django_hacache.node.encoding import signatures
from django_hacache.wire import cache_pb2 as pb

from .life import play
from .world import ROLES, World, addr_of

# What a step is; see steps.py. The payload of the first two is a message.
REQUEST, ANSWER, HONEST, TICK, CONNECT, LOSE, RESTART, HAND_OVER, CLIENT, WORKER = range(10)
KINDS = 10
# How it is done, in the bits of `who` above the peer's.
AS_ITSELF, NEAR, AT_LARGE = 2, 4, 8
# Numbers below NEAR_MAX are counted from the node's own, from NEAR_MAX / 2 before it on.
NEAR_MAX = 16
LAST = 2**64 - 1
TERMS = frozenset({"term", "prev_term", "last_term"})
INDEXES = frozenset(
    {"index", "prev_index", "last_index", "match_index", "commit_index", "applied_index", "reached"}
)
TIMES = frozenset({"sent_at", "node_time", "echo"})


def run(data: bytes) -> None:
    """The first byte says what the node is at first, the rest is steps."""
    role = ROLES[data[0] % 3] if data else "fresh"
    play(data[1:], lambda told, directory: World(told, directory, role), step)


def step(world, kind, who, payload):
    addr = addr_of(1 + who % 2)
    node = world.node
    match kind % KINDS:
        case 0:
            request = pb.CacheRequest.FromString(payload)
            for one in request.bundle or (request,):
                prepare(world, one, addr, who)
                node.transport.from_peer(addr, one)
        case 1:
            ack = pb.Ack.FromString(payload)
            for one in ack.bundle or (ack,):
                prepare(world, one, addr, who)
                node.transport.peer_answered(addr, one)
        case 2:
            for request in world.outgoing(addr):
                answer_honestly(world, addr, request)
        case 4:
            world.connect(addr)
        case 5:
            world.lose(addr, refused=bool(who & NEAR))
        case 6:
            world.restart()
        case 7:
            node.core.hand_over(world.told.ms)
            node.loop.kick()
        case 8:
            world.asked += 1
            node._request_handler.take(pb.CacheRequest.FromString(payload), world.reply, trusted_ids=False)
        case 9:
            world.asked += 1
            node._from_worker(pb.CacheRequest.FromString(payload), world.reply)


def prepare(world, message, addr, who):
    """Make a message one that is looked at: signed by the peer, with numbers that are near the node's own."""
    if who & AS_ITSELF or not message.HasField("sender"):
        message.sender.CopyFrom(sender_of(world, addr))
    if not who & AT_LARGE:
        message.sender.addr = addr
    if who & NEAR:
        move_near(world, message)
        if message.WhichOneof("method") == "append":
            line_up(message.append)
        if message.WhichOneof("method") == "snapshot_chunk":
            continue_transfer(world, message.snapshot_chunk)


def sender_of(world, addr):
    core = world.node.core
    generation = core.hard.generation
    return pb.Sender(
        addr=addr,
        incarnation=f"incarnation of {addr}",
        generation=signatures.generation_to_wire(generation),
        fresh=generation is None,
        hosts=core.sender().hosts,
    )


def move_near(world, message):
    core = world.node.core
    for field, value in message.ListFields():
        if field.name == "sender":
            continue
        if field.type == field.TYPE_MESSAGE:
            for one in value if field.is_repeated else (value,):
                move_near(world, one)
        elif field.type == field.TYPE_UINT64 and not field.is_repeated and 0 < value < NEAR_MAX:
            if field.name in TERMS:
                base = core.hard.term
            elif field.name in INDEXES:
                base = core.state.log.last_index
            elif field.name in TIMES:
                base = world.told.ms
            else:
                continue
            setattr(message, field.name, max(base + value - NEAR_MAX // 2, 0))


def line_up(append):
    for place, entry in enumerate(append.entries, append.prev_index + 1):
        entry.index, entry.term = min(place, LAST), min(entry.term, append.term)


def continue_transfer(world, chunk):
    installing = world.node.installing
    if installing is not None and chunk.HasField("after"):
        chunk.after = installing.position
        chunk.index = max(chunk.index, installing.reached)


def answer_honestly(world, addr, request):
    """As a member that works would, or nearly."""
    node, now = world.node, world.told.ms
    ack = None
    match request.WhichOneof("method"):
        case "mgmt_req":
            ack = answer_to_mgmt(world, request.mgmt_req, now)
        case "append":
            append = request.append
            match = append.prev_index + len(append.entries)
            ack = pb.Ack(
                append_ack=pb.AppendAck(
                    term=append.term,
                    success=True,
                    match_index=match,
                    applied_index=min(match, append.commit_index),
                    prev_index=append.prev_index,
                    installing=append.anew,
                )
            )
        case "snapshot_chunk":
            chunk = request.snapshot_chunk
            ack = pb.SnapshotAck(
                term=chunk.term, transfer=chunk.transfer, number=chunk.number, position=chunk.upto
            )
            ack.reached, ack.whole = chunk.index, chunk.done
            ack = pb.Ack(snapshot_ack=ack)
        case "insert" | "put" as method:
            ack = pb.Ack(
                put_ack=pb.PutAck(req_id=getattr(request, method).req_id, mod_res=True, index=9, term=3)
            )
    if ack is not None:
        ack.sender.CopyFrom(sender_of(world, addr))
        node.transport.peer_answered(addr, ack)


def answer_to_mgmt(world, request, now):
    match request.WhichOneof("method"):
        case "ping" if not request.ping.term:
            return pb.Ack(mgmt_ack=pb.MgmtAck(pong=pb.Pong()))
        case "ping":
            ping = request.ping
            pong = pb.Pong(
                term=ping.term,
                seq=ping.seq,
                sent_at=ping.sent_at,
                node_time=now,
                applied_index=ping.commit_index,
            )
            return pb.Ack(mgmt_ack=pb.MgmtAck(pong=pong))
        case "leader_req":
            asked = request.leader_req
            vote = pb.LeaderReqAck(
                election_ts=asked.election_ts, term=asked.term, granted=True, pre_vote=asked.pre_vote
            )
            return pb.Ack(mgmt_ack=pb.MgmtAck(leader_req_ack=vote))
    return None
