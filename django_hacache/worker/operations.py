"""The operations of the cache API: from key, value and timeout to a change, written once and free of how it waits.

Reads are plain methods. A write that is one change is a method that returns the change; changes/vocabulary.py says what
that does. A write that takes several changes is a generator that yields them and is sent their outcomes (see
writer.py). calls.py carries both out, blocking or not. Must not know replica files or sockets.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache, default_key_func
from django.utils.functional import cached_property  # has no lock that a fork could inherit

from django_hacache.changes.outcome import Why
from django_hacache.changes.vocabulary import Batch, Increment, Insert, Move, Remove, Touch, When
from django_hacache.conf import AckLevel
from django_hacache.exceptions import CacheUnavailable, ReplicaError, ValueTooLarge
from django_hacache.system.interruption import ensure_own
from django_hacache.values.serializers import (
    HIGHEST_PROTOCOL,
    PICKLE,
    EncodingError,
    dumps,
    loads,
    may_be_added,
)
from django_hacache.values.signing import PLAIN
from django_hacache.worker.block import current, entered
from django_hacache.worker.unreadable import TRANSIENT, decode_again, log_unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from django_hacache.conf import CacheOptions
    from django_hacache.replica.reading import Reader
    from django_hacache.values.signing import Codec
    from django_hacache.worker.setup import Setup
    from django_hacache.worker.sites import ClusterSite, StandaloneSite
    from django_hacache.worker.writer import Steps

logger = logging.getLogger("django_hacache.cache")

# What one batch may hold; a larger set_many() or delete_many() is several batches, in order.
BATCH_CHANGES_MAX = 500
BATCH_BYTES_MAX = 1024 * 1024

# A hundred years: longer than any boot, and far from what 64 bits of nanoseconds hold.
TIMEOUT_MAX_S = 100 * 366 * 24 * 3600

# The longest key that memcached takes: Django warns of longer ones.
KEY_LENGTH_MAX = 250

# How the keys begin that Django makes for what it would make again: pages and their headers, fragments of templates.
FILLS = ("views.decorators.cache.", "template.cache.")

# The errors that IGNORE_EXCEPTIONS covers: the cache cannot work now. A wrong request stays an error.
IGNORABLE = (CacheUnavailable, ReplicaError)

# The leader can add a smaller delta for certain; a larger one is looked at by may_be_added().
SMALL_DELTA = 1 << 62

MISSING = object()

Ack = AckLevel | str | None
Timeout = float | None  # seconds; None: for ever


class Operations(BaseCache):
    """The reads of a cache, and the changes of its writes."""

    _overridden: ClassVar[frozenset[str]] = frozenset()
    """The operations that a subclass has replaced."""
    _makes_keys: ClassVar[bool] = False
    """Whether a subclass makes or validates keys in a way of its own."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._makes_keys = (
            cls.make_key is not BaseCache.make_key or cls.validate_key is not Operations.validate_key
        )

    @cached_property
    def _setup(self) -> Setup:
        raise NotImplementedError

    @cached_property
    def _cache_name(self) -> str:
        return self._setup.options.name

    @cached_property
    def _options(self) -> CacheOptions:
        return self._setup.options

    @cached_property
    def _site(self) -> StandaloneSite | ClusterSite:
        return self._setup.site

    @cached_property
    def _codec(self) -> Codec:
        return self._setup.codec

    @property
    def _reader(self) -> Reader:
        return self._site.reader

    def validate_key(self, key: str) -> None:
        """Warn of keys that memcached would refuse, as Django does, which is asked about suspects only."""
        if len(key) > KEY_LENGTH_MAX or " " in key or not key.isprintable():
            super().validate_key(key)

    def make_and_validate_key(self, key: str, version: int | None = None) -> str:
        """Return the key with prefix and version, as Django does: without another call, where all of it is Django's."""
        if self._makes_keys or self.key_func is not default_key_func:
            return super().make_and_validate_key(key, version)
        key = f"{self.key_prefix}:{self.version if version is None else version}:{key}"
        if len(key) > KEY_LENGTH_MAX or " " in key or not key.isprintable():
            self.validate_key(key)
        return key

    # Reads

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        """Return the value, or `default` on a miss."""
        key = self.make_and_validate_key(key, version)
        if entered() is not None:
            self._wait_for_writes(key)
        setup = self._setup
        try:
            data = setup.site.reader.get(setup.options.name, key)
        except ReplicaError as error:
            self._log_or_raise("get", error)
            return default
        if data is None:
            return default
        # As _decoded and Plain.decode do it, without a call: this is the way of every hit.
        codec = setup.codec
        try:
            if codec is PLAIN and data and data[0] == PICKLE:
                return loads(data)
            return codec.decode(key, data)
        except BaseException as error:  # noqa: BLE001 - raised again where it is the caller's
            return decode_again(codec, self._cache_name, key, data, error, default)

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        """Return the values that are there, all read at one instant."""
        if "get" in self._overridden:
            return super().get_many(keys, version)
        names = {self.make_and_validate_key(key, version): key for key in keys}
        self._wait_for_writes(*names)
        try:
            found = self._reader.get_many(self._cache_name, names)
        except ReplicaError as error:
            self._log_or_raise("get_many", error)
            return {}
        decode = self._codec.decode
        try:
            return {names[name]: decode(name, data) for name, data in found.items()}
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            decoded = {name: self._decoded(name, data, MISSING) for name, data in found.items()}
            readable = {names[name]: value for name, value in decoded.items() if value is not MISSING}
            if len(readable) == len(found) and not isinstance(error, TRANSIENT):
                raise
            return readable

    def has_key(self, key: str, version: int | None = None) -> bool:
        """Return whether the key is there, signed where the cache is signed; decodes nothing."""
        key = self.make_and_validate_key(key, version)
        self._wait_for_writes(key)
        try:
            data = self._reader.get(self._cache_name, key)
        except ReplicaError as error:
            self._log_or_raise("has_key", error)
            return False
        return data is not None and self._codec.holds(key, data)

    # The changes, or the steps, of writes

    def _set(self, key: str, value: Any, timeout: float | None, version: int | None) -> Insert | Remove:
        key = self.make_and_validate_key(key, version)
        data, ttl_ms = self._encoded(key, value), self._ttl_ms(timeout)
        return Remove(key) if ttl_ms == 0 else Insert(key, data, ttl_ms)

    def _add(self, key: str, value: Any, timeout: float | None, version: int | None) -> Insert | bool:
        """Return the change, or the answer where there is nothing to change."""
        key = self.make_and_validate_key(key, version)
        data, ttl_ms = self._encoded(key, value), self._ttl_ms(timeout)
        if ttl_ms == 0:
            self._wait_for_writes(key)
            # Added and gone at once: nothing changes.
            return not self._reader.has(self._cache_name, key)
        return Insert(key, data, ttl_ms, When.ABSENT)

    def _touch(self, key: str, timeout: float | None, version: int | None) -> Touch | Remove:
        key = self.make_and_validate_key(key, version)
        ttl_ms = self._ttl_ms(timeout)
        return Remove(key) if ttl_ms == 0 else Touch(key, ttl_ms)

    def _delete(self, key: str, version: int | None) -> Remove:
        return Remove(self.make_and_validate_key(key, version))

    def _incr(self, key: str, delta: Any, version: int | None) -> Steps[Any]:
        name = self.make_and_validate_key(key, version)
        integer = type(delta) is int and (-SMALL_DELTA < delta < SMALL_DELTA or may_be_added(delta))
        while True:
            # The leader decides whether the key is there, and adds where both are integers. Else the value is swapped
            # here for the sum, as long as nobody else changes it meanwhile.
            outcome = yield Increment(name, delta if integer else 0)
            if outcome.why is Why.ABSENT:
                raise ValueError(f"Key '{key}' not found")
            if outcome.effective and integer:
                return outcome.number
            item = self._reader.item(self._cache_name, name)
            if item is not None:
                value = self._decoded(name, item.value, MISSING)
                if value is MISSING:
                    raise ValueError(f"Key '{key}' not found")
                value += delta
                swap = Insert(
                    name, self._encoded(name, value), None, When.UNCHANGED, item.version, keep_ttl=True
                )
                if (yield swap).effective:
                    return value

    def _incr_version(self, key: str, delta: int, version: int | None) -> Steps[int]:
        if version is None:
            version = self.version
        old = self.make_and_validate_key(key, version)
        new = self.make_and_validate_key(key, version + delta)
        if old == new:
            # Nothing moves. As after a move, the time to live begins again.
            if not (yield self._touch(key, DEFAULT_TIMEOUT, version)).effective:
                raise ValueError(f"Key '{key}' not found")
            return version
        ttl_ms = self._ttl_ms(DEFAULT_TIMEOUT)
        while True:
            item = self._reader.item(self._cache_name, old)
            # No entry has version 0: where this host sees no entry, the leader says whether there is one elsewhere.
            data, seen = (self._moved(old, new, item.value), item.version) if item is not None else (b"", 0)
            if data is None:
                raise ValueError(f"Key '{key}' not found")
            outcome = yield Move(old, seen, self._storing(new, data, ttl_ms))
            if outcome.effective:
                return version + delta
            if outcome.why is Why.ABSENT:
                raise ValueError(f"Key '{key}' not found")

    def _replacing_unreadable(
        self, key: str, value: Any, timeout: float | None, version: int | None
    ) -> Insert | None:
        """Return the change that stores `value` in place of an entry that add() finds and get() cannot decode.

        None where there is no such entry, and for subclasses, which may store values in a form of their own.
        """
        name, ttl_ms = self.make_and_validate_key(key, version), self._ttl_ms(timeout)
        item = None if self._overridden or ttl_ms == 0 else self._reader.item(self._cache_name, name)
        if item is None or self._decoded(name, item.value, MISSING) is not MISSING:
            return None
        return Insert(name, self._encoded(name, value), ttl_ms, When.UNCHANGED, item.version)

    def _set_many(
        self, data: Mapping[str, Any], timeout: float | None, version: int | None
    ) -> Steps[list[str]]:
        names = {self.make_and_validate_key(key, version): key for key in data}
        ttl_ms = self._ttl_ms(timeout)
        # Encode all values before the first batch is sent: where one cannot be stored, nothing changes.
        changes = [self._storing(name, self._encoded(name, data[key]), ttl_ms) for name, key in names.items()]
        return (yield from self._in_batches("set_many", changes, names))

    def _delete_many(self, keys: Iterable[str], version: int | None) -> Steps[None]:
        names = {self.make_and_validate_key(key, version): key for key in keys}
        yield from self._in_batches("delete_many", [Remove(name) for name in names], names)

    def _in_batches(
        self, operation: str, changes: list[Insert | Remove], keys: Mapping[str, str]
    ) -> Steps[list[str]]:
        """Yield the changes in batches; return the keys that were not changed, where failures are ignored."""
        done = 0
        try:
            for batch in _batches(changes):
                yield Batch(batch)
                done += len(batch)
        except IGNORABLE as error:
            self._log_or_raise(operation, error)
        return [keys[change.key] for change in changes[done:]]

    # Parts of several operations

    def _wait_for_writes(self, *names: str) -> None:
        """Wait for those of a block that are on their way to one of the keys."""
        block = current()
        if block is not None and block.is_on_its_way(self._site, self._cache_name, names):
            block.settle()

    def _level(self, ack: Ack) -> AckLevel:
        return self._options.ack_level if ack is None else AckLevel(ack)

    def _only_fills(self, ack: Ack) -> bool:
        """Whether get_or_set is told not to wait for who was the first."""
        return ack is not None and AckLevel(ack) is AckLevel.DIRECT and "add" not in self._overridden

    def _filling(self, key: str, ack: Ack) -> Ack:
        """Return the level of a set(): nobody has to wait for a page or a fragment, since a lost one is made again."""
        if ack is None and isinstance(key, str) and key.startswith(FILLS):
            return self._options.fill_ack_level
        return ack

    def _deciding_level(self, ack: Ack) -> AckLevel:
        """Return the level of a write whose answer is a decision, which only the leader can make."""
        if ack is None:
            return self._setup.deciding_level
        level = AckLevel(ack)
        return AckLevel.LEADER if level is AckLevel.DIRECT else level

    def _storing(self, key: str, data: bytes, ttl_ms: int | None) -> Insert | Remove:
        return Remove(key) if ttl_ms == 0 else Insert(key, data, ttl_ms)

    def _decoded(self, name: str, data: bytes | memoryview, default: Any) -> Any:
        try:
            return self._codec.decode(name, data)
        except BaseException as error:  # noqa: BLE001 - raised again where it is the caller's
            return decode_again(self._codec, self._cache_name, name, data, error, default)

    def _moved(self, old: str, new: str, data: bytes) -> bytes | None:
        """Return the stored bytes of the key `old` as they are stored under `new`; None where they are no value."""
        try:
            return self._codec.moved(old, new, data)
        except EncodingError as error:
            log_unreadable(self._cache_name, old, error)
            return None

    def _encoded(self, key: str, value: Any) -> bytes:
        setup = self._setup
        codec = setup.codec
        # As Plain.encode does it, without a call.
        plain = codec is PLAIN and type(value) is not int
        data = dumps(value, HIGHEST_PROTOCOL) if plain else codec.encode(key, value)
        if len(data) > setup.options.max_value_bytes:
            raise ValueTooLarge(
                f"The value of {key!r} takes {len(data)} bytes; the cache {self._cache_name!r} stores "
                f"{self._options.max_value_bytes} at most (MAX_VALUE_SIZE, SIZE_LIMIT)."
            )
        return data

    def _ttl_ms(self, timeout: float | None) -> int | None:
        """Return milliseconds to live, None for ever, 0 for gone at once."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        if type(timeout) is int and 0 < timeout < TIMEOUT_MAX_S:
            return timeout * 1000
        if timeout is None:
            return None
        if timeout <= 0:
            return 0
        return math.ceil(min(timeout, TIMEOUT_MAX_S) * 1000)

    def _log_or_raise(self, operation: str, error: Exception, *, replaced: bool = False) -> None:
        """Raise `error`, which is being handled, again, or log it where IGNORE_EXCEPTIONS says so.

        replaced: whether a subclass's method may have raised it.
        """
        if not self._options.ignore_exceptions:
            raise error
        if not replaced:
            ensure_own(error)
        if self._options.log_ignored_exceptions:
            logger.error("%s on the cache %r was ignored: %s", operation, self._cache_name, error)


def given(ack: Ack) -> dict[str, Ack]:
    """Return the argument as a call passes it on: a method with Django's own signature does not take it."""
    return {} if ack is None else {"ack": ack}


def _batches(changes: list[Insert | Remove]) -> Iterator[tuple[Insert | Remove, ...]]:
    batch: list[Insert | Remove] = []
    size = 0
    for change in changes:
        weight = len(change.key) + (len(change.value) if isinstance(change, Insert) else 0)
        if batch and (len(batch) == BATCH_CHANGES_MAX or size + weight > BATCH_BYTES_MAX):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(change)
        size += weight
    if batch:
        yield tuple(batch)
