"""What no honest member can claim: it is refused before any rule counts on it.

Whoever speaks for a member could otherwise send a last term after which there is no election, or a heartbeat that
answers one of tomorrow, and no rule of Raft would notice: it believes its members. Knows no rule itself.
"""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

from django_hacache.consensus.messages import Append, Generation, LeaderReq, Message, Pong, Sender

# Elections that a node may have missed: at one a second it would have been away for half a year.
TERM_LEAP = 1 << 24
# Generations are numbered by seconds, roughly, and nothing hurries them on.
GENERATION_LEAP = 1 << 32
# The version of what an entry writes has 64 bits, 20 of them for places within the entry. A century at 5000 a second.
INDEX_MAX = 1 << 43
NAME_CHARACTERS_MAX = 64
INDEXES = {"index", "last_index", "prev_index", "match_index", "commit_index", "applied_index"}
INDEXES_OF = {kind: [one.name for one in fields(kind) if one.name in INDEXES] for kind in get_args(Message)}


def flaw(sender: Sender, message: Message, *, term: int, generation: int, now_ms: int) -> str | None:
    """Return what cannot be true of a message, None for one that may be.

    term, generation: this node's own term, and the highest number of a generation that it knows of.
    """
    claimed = getattr(message, "term", 0)
    if claimed > term + TERM_LEAP:
        return f"term {claimed}, where this node is in term {term}"
    if sender.generation is not None and (why := _flaw_of_generation(sender.generation, generation)):
        return why
    if len(sender.incarnation) > NAME_CHARACTERS_MAX:
        return f"an incarnation of {len(sender.incarnation)} characters"
    for name in INDEXES_OF[type(message)]:
        if getattr(message, name) > INDEX_MAX:
            return f"{name} {getattr(message, name)}"
    match message:
        case Append():
            return _flaw_of_append(message)
        case LeaderReq():
            return _flaw_of_candidacy(message, generation)
        case Pong() if message.sent_at_ms > now_ms:
            return f"an answer to a heartbeat of {message.sent_at_ms - now_ms} ms from now"
    return None


def _flaw_of_candidacy(request: LeaderReq, generation: int) -> str | None:
    if request.last_term > request.term:
        return f"a log that ends in term {request.last_term}, in term {request.term}"
    return None if request.forming is None else _flaw_of_generation(request.forming, generation)


def _flaw_of_generation(claimed: Generation, known: int) -> str | None:
    if claimed.number > known + GENERATION_LEAP:
        return f"generation {claimed.number}, where the latest known is {known}"
    if len(claimed.id) > NAME_CHARACTERS_MAX:
        return f"a generation's id of {len(claimed.id)} characters"
    return None


def _flaw_of_append(append: Append) -> str | None:
    if append.prev_term > append.term:
        return f"an entry of term {append.prev_term}, in term {append.term}"
    if append.prev_term and not append.prev_index:
        return f"an entry of term {append.prev_term} before the first one"
    index, term = append.prev_index, append.prev_term
    for entry in append.entries:
        index += 1
        if entry.index != index or not term <= entry.term <= append.term:
            what = f"entry {entry.index} of term {entry.term} in place {index}"
            return f"{what}, after one of term {term}, in term {append.term}"
        term = entry.term
    return None
