"""What is encoded with one copy of what is large is what protobuf encodes."""

import pytest

from django_hacache.consensus.messages import Append, Entry
from django_hacache.node.encoding import codec, log_codec
from django_hacache.node.encoding.acks import AROUND_BYTES, size_of
from django_hacache.node.encoding.large import LARGE_BYTES, with_length
from django_hacache.node.evaluation.evaluator import Evaluator
from django_hacache.wire import cache_pb2 as pb

LARGE, SMALL = bytes(range(256)) * (LARGE_BYTES // 256), b"small"
SENDER = pb.Sender(addr="web1:7001", incarnation="i", generation=pb.Generation(number=3, id="g"))


def insert(value, entry="k", **more):
    return pb.Insert(cache_name="default", entry=entry, value=value, req_id="r", **more)


def plain(effects):
    return pb.Effects(effects=effects).SerializeToString()


@pytest.mark.parametrize("length", [0, 1, 127, 128, 300, 20_000, 1 << 21])
def test_a_field_has_its_number_and_its_length(length):
    content = bytes(length)
    encoded = b"".join(with_length(2, [content[: length // 2], content[length // 2 :]]))
    assert pb.SetEffect.FromString(b"".join(with_length(3, [content]))).value == content
    assert encoded == pb.Insert(entry=content.decode()).SerializeToString() or not length


def test_the_effects_of_a_large_value_are_those_of_a_small_one(replica):
    evaluator = Evaluator(replica)
    effect, _ = evaluator.evaluate(pb.CacheRequest(insert=insert(LARGE, ttl_ms=70)), 1, 0)
    (found,) = pb.Effects.FromString(effect).effects
    assert found.set == pb.SetEffect(cache_name="default", entry="k", value=LARGE, ttl_ms=70)
    # A batch of both kinds keeps their order, and what was large before is not in it.
    changes = [insert(SMALL, "a"), insert(LARGE, "b"), insert(SMALL, "c")]
    batch = pb.Batch(changes=[pb.Change(insert=one) for one in changes], req_id="r")
    effect, _ = evaluator.evaluate(pb.CacheRequest(batch=batch), 2, 0)
    found = [(one.set.entry, one.set.value) for one in pb.Effects.FromString(effect).effects]
    assert found == [("a", SMALL), ("b", LARGE), ("c", SMALL)]
    effect, _ = evaluator.evaluate(pb.CacheRequest(insert=insert(SMALL)), 3, 0)
    expected = pb.SetEffect(cache_name="default", entry="k", value=SMALL)
    assert effect == plain([pb.Effect(set=expected)])


@pytest.mark.parametrize("sizes", [(), (5,), (LARGE_BYTES,), (5, LARGE_BYTES, 0), (LARGE_BYTES, LARGE_BYTES)])
def test_an_append_says_the_same_whatever_is_in_it(sizes):
    entries = tuple(
        Entry(number, 2, bytes(size), f"req-{number}", b"outcome") for number, size in enumerate(sizes, 1)
    )
    anew, awaited = not sizes, len(sizes) == 1
    append = Append(2, 0, 0, 0, entries, tuple(range(len(sizes))), anew=anew, awaited=awaited)
    request = pb.CacheRequest.FromString(log_codec.encoded_append(append))
    assert request == codec.to_request(append, SENDER.addr)
    assert codec.from_request(request) == append


@pytest.mark.parametrize("value", [SMALL, LARGE])
def test_an_entry_of_the_log_says_the_same_whatever_it_does(value):
    entry = Entry(7, 2, value, "req", b"outcome")
    encoded = b"".join(log_codec.entry_chunks(entry, 12))
    assert pb.LogEntry.FromString(encoded) == log_codec.entry_to_wire(entry, 12)


@pytest.mark.parametrize("value", [SMALL, LARGE])
def test_what_a_change_counts_for_is_about_its_bytes(value):
    request = pb.CacheRequest(insert=insert(value, "key"))
    assert abs(size_of(request) - request.ByteSize()) <= AROUND_BYTES
    clear = pb.CacheRequest(clear=pb.Clear(cache_name="default"))
    assert size_of(clear) == clear.ByteSize()
