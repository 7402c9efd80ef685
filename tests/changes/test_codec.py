"""Changes on the wire."""

from __future__ import annotations

from typing import get_args

import pytest

from django_hacache.changes.codec import CHANGE_FIELDS, carried_bytes, change_from, request_of
from django_hacache.changes.vocabulary import Batch, Clear, Increment, Insert, Remove, Sent, Touch, When
from django_hacache.conf import AckLevel
from django_hacache.wire import cache_pb2 as pb

CHANGES = [
    Insert("key", b"value", None),
    Insert("", b"", 0, When.UNCHANGED, 1 << 63, keep_ttl=True),
    Insert("key", b"value", 1, When.ABSENT),
    Remove("key"),
    Touch("key", None),
    Touch("key", 0),
    Increment("key", -(1 << 70)),
    Clear(),
]


def sent(change: Sent) -> pb.CacheRequest:
    request = request_of(change, "cache", req_id="name", ack=AckLevel.ONCE, timeout_ms=1000)
    return pb.CacheRequest.FromString(request.SerializeToString())


def test_every_kind_of_change_that_is_sent_is_tried_here():
    assert {type(change) for change in CHANGES} | {Batch} == set(get_args(Sent))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_arrives_as_it_was_sent(change):
    request = sent(change)
    message = getattr(request, request.WhichOneof("method"))
    found = change_from(message)
    assert type(found) is type(change)
    assert isinstance(change, Clear) or found == change
    assert message.cache_name == "cache"
    assert message.ack_level.WhichOneof("ack_level") == "level_once"
    assert request.timeout_ms == 1000
    assert message.req_id == "name"


def test_the_changes_of_a_batch_arrive_in_their_order_and_share_its_name_and_its_level():
    parts = (Insert("one", b"1", 5), Remove("two"), Insert("three", b"", None))
    batch = sent(Batch(parts)).batch
    messages = [getattr(one, one.WhichOneof("change")) for one in batch.changes]
    assert tuple(map(change_from, messages)) == parts
    assert {message.cache_name for message in messages} == {"cache"}
    assert {message.req_id for message in messages} == {""}
    assert batch.req_id == "name"
    assert batch.ack_level.WhichOneof("ack_level") == "level_once"


def test_each_field_of_a_request_that_holds_a_change_has_one_row():
    fields = pb.CacheRequest.DESCRIPTOR.oneofs_by_name["method"].fields
    levelled = {field.name for field in fields if "ack_level" in field.message_type.fields_by_name}
    assert levelled | {"put", "del"} == CHANGE_FIELDS


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_change_carries_of_a_value_is_counted(change):
    request = sent(change)
    carried = {Insert: "value", Increment: "delta"}.get(type(change))
    message = getattr(request, request.WhichOneof("method"))
    assert carried_bytes(message) == (len(getattr(message, carried)) if carried else 0)
