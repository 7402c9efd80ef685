"""A cluster holds so many caches: one that is new finds room, or is refused before it is in the order."""

from __future__ import annotations

import pytest

from django_hacache.consensus.messages import NeverOrdered, Refusal
from django_hacache.node.evaluation.catalogue import Catalogue
from django_hacache.replica.layout import MAX_CACHES
from django_hacache.values.serializers import (
    encode,
)
from django_hacache.wire import cache_pb2 as pb
from tests.node.leading import (
    TAKEN,
    batch,
    overlay_of,
)


def test_a_cache_that_no_replica_has_room_for_is_refused_and_the_others_go_on(leader):
    for number in range(MAX_CACHES):
        leader.decide(insert=pb.Insert(cache_name=f"c{number}", entry="key", value=encode(1)))
    for _ in range(2):
        with pytest.raises(NeverOrdered, match="no room for cache 'one more'") as caught:
            leader.decide(insert=pb.Insert(cache_name="one more", entry="key", value=encode(1)))
        assert caught.value.refusal is Refusal.UNKNOWN_CACHE
        leader.apply()
        leader.evaluator.abandon()
    assert leader.decide(insert=pb.Insert(cache_name="c1", entry="key", value=encode(2))) == TAKEN


def in_cache(name, value=1):
    return pb.Insert(cache_name=name, entry="key", value=encode(value))


def full_of_names(leader, catalogue, **more):
    """A leader that has as many caches as there may be."""
    leader = leader.with_(catalogue=catalogue, **more)
    for number in range(MAX_CACHES):
        leader.decide(insert=in_cache(f"c{number}"))
    leader.apply()
    return leader


def test_a_cache_that_no_host_serves_any_more_makes_room_for_one_that_is_new(leader):
    served = [f"c{number}" for number in range(MAX_CACHES) if number not in (7, 9)]
    catalogue = Catalogue([*served[:40], "new", "newer"], ["peer"])
    catalogue.says("peer", [*served[40:], "new"])
    leader = full_of_names(leader, catalogue)
    with leader.replica.write() as transaction:
        transaction.set("c9", "more", b"x", version=1, expires_at=0)
    assert leader.decide(insert=in_cache("new")) == TAKEN
    assert leader.latest() == ["clear", "set"]
    assert leader.evaluator.overlay.find("c7", "key") is None
    assert leader.decide(insert=in_cache("newer")) == TAKEN
    with pytest.raises(NeverOrdered, match="the hosts serve 64 others"):
        leader.decide(insert=in_cache("one too many"))
    leader.apply()
    held = [name for name in ("c7", "c9", "new", "newer") if leader.replica.get(name, "key") is not None]
    assert held == ["new", "newer"]
    assert leader.decide(insert=in_cache("c1", 2)) == TAKEN


def test_caches_that_make_room_for_each_other_again_and_again_are_told_of_once(leader, caplog):
    leader = full_of_names(leader, Catalogue(["new"], []))
    for number in range(10):
        assert leader.decide(insert=in_cache(f"another{number}")) == TAKEN
        leader.apply()
    assert sum("makes room" in message for message in caplog.messages) == 1


def test_while_a_host_has_not_said_what_it_serves_no_cache_makes_room(leader):
    catalogue = Catalogue(["new"], ["10.0.0.12:7001"])
    leader = full_of_names(leader, catalogue)
    with pytest.raises(NeverOrdered, match=r"10\.0\.0\.12:7001 has not said"):
        leader.decide(insert=in_cache("new"))
    catalogue.says("10.0.0.12:7001", ["default"])
    assert leader.decide(insert=in_cache("new")) == TAKEN


def test_a_change_that_is_refused_after_it_made_room_has_made_none(leader):
    leader = full_of_names(leader, Catalogue(["new"], []), entry_bytes_max=100)
    with pytest.raises(NeverOrdered, match="more than 100 bytes"):
        leader.decide(insert=in_cache("new", "x" * 100))
    assert overlay_of(leader) == ({}, {}, [])
    assert leader.decide(insert=in_cache("c0", 2)) == TAKEN
    assert leader.latest() == ["set"]


def test_what_makes_room_and_is_refused_then_makes_it_again_for_the_next_change(leader):
    """Else every host would skip that one, which was acknowledged."""
    served = [f"c{number}" for number in range(1, MAX_CACHES)]
    leader = full_of_names(leader, Catalogue([*served, "new", "newer"], []))
    with pytest.raises(NeverOrdered):
        leader.decide(batch=batch(in_cache("new"), in_cache("newer")))
    assert leader.decide(insert=in_cache("new", 1)) == TAKEN
    assert leader.latest() == ["clear", "set"]


def test_an_empty_cache_needs_no_place(leader):
    leader = full_of_names(leader, Catalogue([], ["peer"]))
    leader.decide(clear=pb.Clear(cache_name="c3"))
    assert leader.decide(insert=in_cache("new")) == TAKEN
    leader.apply()
    assert leader.replica.get("new", "key") is not None
