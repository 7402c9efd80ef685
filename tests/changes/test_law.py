"""What a change does is the same on one machine and in a cluster: any sequence gives equal outcomes in both."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_hacache.changes.vocabulary import Batch, Clear, Increment, Insert, Move, Remove, Touch, When
from django_hacache.replica.clock import NEVER, is_live
from django_hacache.replica.layout import MAX_KEY_BYTES
from django_hacache.replica.replica import Replica
from django_hacache.values.serializers import INTEGER_BYTES_MAX
from django_hacache.values.signing import PLAIN, codec_of
from tests.changes.modes import CACHE, Clustered, Standalone

HOUR_MS = 3_600_000
SIGNED = codec_of(CACHE, [b"k" * 32])

KEYS = st.sampled_from(["a", "b", "ü" * MAX_KEY_BYTES])
# Those that end have ended when the next change comes.
TIMES = st.sampled_from([None, 0, HOUR_MS])
VALUES = st.one_of(
    st.integers(-(2**70), 2**70),
    st.text(max_size=3),
    st.just(bytes(20_000)),
    st.just(1 << (8 * INTEGER_BYTES_MAX)),
)


@dataclass(frozen=True)
class Seen:
    """A change that names a version: what its key had when it was last looked at, or what no entry ever has."""

    change: Insert | Move
    key: str
    recent: bool

    def at(self, replica):
        found = replica.item(CACHE, self.key)
        return self.change._replace(version=found.version if found and self.recent else 0)


def inserts(codec, when=tuple(When)):
    return st.builds(
        lambda key, value, ttl_ms, when, keep: Insert(key, codec.encode(key, value), ttl_ms, when, 0, keep),
        KEYS,
        VALUES,
        TIMES,
        st.sampled_from(when),
        st.booleans(),
    )


def changes(codec):
    plain = st.one_of(inserts(codec, [When.ALWAYS]), st.builds(Remove, KEYS))
    return st.one_of(
        inserts(codec),
        st.builds(lambda change, recent: Seen(change, change.key, recent), inserts(codec), st.booleans()),
        st.builds(Remove, KEYS),
        st.builds(Touch, KEYS, TIMES),
        st.builds(Increment, KEYS, st.integers(-(2**70), 2**70)),
        st.builds(
            lambda source, then, recent: Seen(Move(source, 0, then), source, recent),
            KEYS,
            plain,
            st.booleans(),
        ),
        st.just(Clear()),
        st.builds(lambda parts: Batch(tuple(parts)), st.lists(plain, min_size=1, max_size=4)),
    )


@contextmanager
def opened():
    with tempfile.TemporaryDirectory(
        prefix="law-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None
    ) as parent:
        replicas = [
            Replica.open(Path(parent) / name, writable=True, map_size=1 << 26) for name in ("alone", "leader")
        ]
        try:
            yield replicas
        finally:
            for replica in replicas:
                replica.close()


@pytest.fixture(scope="module", params=[PLAIN, SIGNED], ids=["plain", "signed"])
def modes(request):
    with opened() as (alone, leading):
        yield request.param, alone, leading


def contents(replica):
    """What readers find, and whether it ends."""
    with replica.snapshot() as picture:
        return {
            entry.key: (entry.value, entry.expires_at == NEVER)
            for entry in picture.items(CACHE)
            if is_live(entry.expires_at)
        }


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_sequence_has_equal_outcomes_in_both_modes(modes, data):
    codec, alone, leading = modes
    for replica in (alone, leading):
        replica.erase()
    standalone, clustered = Standalone(alone, codec), Clustered(leading, codec)
    for change, settles in data.draw(st.lists(st.tuples(changes(codec), st.booleans()), max_size=12)):
        if settles or isinstance(change, Seen):  # who names a version has looked
            clustered.settle()
        outcomes = [
            mode.perform(change.at(mode.replica) if isinstance(change, Seen) else change)
            for mode in (standalone, clustered)
        ]
        assert outcomes[0] == outcomes[1], change
    clustered.settle()
    assert contents(alone) == contents(leading)
