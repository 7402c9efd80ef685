"""HACache: Django's cache API over the replica of this host. The one class that users name.

The signatures and their promises. What each operation does is in worker/operations.py, how it is carried out in
worker/calls.py, and the same for event loops in worker/coroutines.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.utils.functional import cached_property  # has no lock that a fork could inherit

from django_hacache.changes.outcome import Why
from django_hacache.changes.vocabulary import Clear, Increment
from django_hacache.worker.alias import alias_of, candidates
from django_hacache.worker.coroutines import COUNTERPARTS, OVERRIDABLE, Coroutines
from django_hacache.worker.operations import IGNORABLE, MISSING, SMALL_DELTA, Ack, Timeout, given
from django_hacache.worker.setup import setup_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django_hacache.worker.setup import Setup


class HACache(Coroutines):
    """The cache of one alias: shared by all processes of this machine, or by all hosts of the cluster.

    Where the cluster cannot answer, reads are misses and writes raise CacheUnavailable; with
    IGNORE_EXCEPTIONS set, touch, delete, clear, set, set_many and delete_many log it and return what they
    return when they did nothing, and get_or_set returns the default. add, incr, decr and the version changes
    raise all the same: their answer is a decision.

    Every writing method takes `ack`: the level at which this one write is acknowledged ("direct", "leader",
    "once", "quorum", "all") in place of OPTIONS["ACK_LEVEL"], or of OPTIONS["FILL_ACK_LEVEL"] for pages and template
    fragments. At "direct" nobody is waited for: delete and touch return True, a failure is logged and counted, and
    reads find what was there before for a moment; add, incr and decr then use "leader".

    close() closes nothing: Django calls it after each request, and what is open belongs to the process.

    A subclass may replace any method. As in Django's base class, get_or_set, the `*_many` and the coroutines then do
    what they are made of: get, add, set and delete.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._overridden = frozenset(
            name for name in OVERRIDABLE if getattr(cls, name) is not getattr(HACache, name)
        )

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        """Take LOCATION and the rest of CACHES[alias], as Django hands them to a backend.

        Wrong settings raise ConfigurationError at the first use. `manage.py check` builds every cache object
        before it shows its findings, so raising here would hide them behind a traceback.
        """
        # Django reads MAX_ENTRIES and CULL_FREQUENCY from it at once, whatever it is.
        readable = isinstance(params.get("OPTIONS", {}), dict)
        super().__init__(params if readable else {**params, "OPTIONS": {}})
        self._location = location
        self._params = params
        self._aliases = candidates(type(self), location, params)

    @cached_property
    def _setup(self) -> Setup:
        alias = self._aliases[0] if len(self._aliases) == 1 else alias_of(self, self._aliases)
        return setup_of(alias, self._location, self._params)

    def set(
        self,
        key: str,
        value: Any,
        timeout: Timeout = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        ack: Ack = None,
    ) -> None:
        """Store a value."""
        self._perform("set", self._set(key, value, timeout, version), self._filling(key, ack))

    def add(
        self,
        key: str,
        value: Any,
        timeout: Timeout = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        ack: Ack = None,
    ) -> bool:
        """Store a value unless the key is there; return whether it was stored."""
        change = self._add(key, value, timeout, version)
        return change if isinstance(change, bool) else self._decide(change, ack)

    def get_or_set(
        self,
        key: str,
        default: Any,
        timeout: Timeout = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        ack: Ack = None,
    ) -> Any:
        """Return the value; where there is none, add `default` (or what it returns) first.

        At "direct" nobody waits for that: `default` is returned, also where somebody else was faster.
        """
        value = self.get(key, MISSING, version=version)
        if value is not MISSING:
            return value
        if callable(default):
            default = default()
        try:
            if self._only_fills(ack):
                filling = self._add(key, default, timeout, version)
                if not isinstance(filling, bool):
                    self._perform("get_or_set", filling, ack)
                return default
            if not self.add(key, default, timeout=timeout, version=version, **given(ack)):
                # Somebody else may have been faster.
                value = self.get(key, MISSING, version=version)
                if value is not MISSING:
                    return value
                change = self._replacing_unreadable(key, default, timeout, version)
                if change is not None:
                    self._perform("get_or_set", change, ack)
        except IGNORABLE as error:
            self._log_or_raise("get_or_set", error, replaced="add" in self._overridden)
            return default
        return self.get(key, default, version=version)

    def touch(
        self,
        key: str,
        timeout: Timeout = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        ack: Ack = None,
    ) -> bool:
        """Give a key a new time to live; return whether it was there."""
        return self._perform("touch", self._touch(key, timeout, version), ack)

    def delete(self, key: str, version: int | None = None, *, ack: Ack = None) -> bool:
        """Remove a key; return whether it was there."""
        return self._perform("delete", self._delete(key, version), ack)

    def incr(self, key: str, delta: Any = 1, version: int | None = None, *, ack: Ack = None) -> Any:
        """Add `delta` and return the new value; the time to live stays. ValueError: the key is missing."""
        if type(delta) is int and -SMALL_DELTA < delta < SMALL_DELTA:
            # Nearly all end with the first step of _incr.
            outcome = self._decided(Increment(self.make_and_validate_key(key, version), delta), ack)
            if outcome.effective:
                return outcome.number
            if outcome.why is Why.ABSENT:
                raise ValueError(f"Key '{key}' not found")
        return self._run(self._incr(key, delta, version), self._deciding_level(ack))

    def decr(self, key: str, delta: Any = 1, version: int | None = None, *, ack: Ack = None) -> Any:
        """Subtract `delta` and return the new value. ValueError where the key is missing."""
        return self.incr(key, -delta, version=version, **given(ack))

    def incr_version(self, key: str, delta: int = 1, version: int | None = None, *, ack: Ack = None) -> int:
        """Move the value to `version` + `delta` and return that. ValueError: the key is missing.

        In a cluster it is gone from the old version a moment before it is in the new one. Where the cluster fails
        in between, OutcomeUnknown is raised and the entry is lost.
        """
        return self._run(self._incr_version(key, delta, version), self._deciding_level(ack))

    def decr_version(self, key: str, delta: int = 1, version: int | None = None, *, ack: Ack = None) -> int:
        """Move the value to `version` - `delta` and return that, as incr_version does."""
        return self.incr_version(key, -delta, version=version, **given(ack))

    def set_many(
        self,
        data: Mapping[str, Any],
        timeout: Timeout = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        ack: Ack = None,
    ) -> list[str]:
        """Store all values; return the keys that were not stored: none, unless failures are ignored.

        Raises ValueTooLarge, and whatever pickle raises, before anything is stored.
        """
        if "set" in self._overridden:
            for key, value in data.items():
                self.set(key, value, timeout=timeout, version=version, **given(ack))
            return []
        return self._run(self._set_many(data, timeout, version), self._level(ack), "set_many")

    def delete_many(self, keys: Iterable[str], version: int | None = None, *, ack: Ack = None) -> None:
        """Remove the keys."""
        if "delete" in self._overridden:
            for key in keys:
                self.delete(key, version=version, **given(ack))
            return
        self._run(self._delete_many(keys, version), self._level(ack), "delete_many")

    def clear(self, *, ack: Ack = None) -> None:
        """Remove everything from this cache, whatever alias or version it was stored under; other caches stay."""
        self._perform("clear", Clear(), ack)


# The coroutines do without these methods as long as nobody has replaced one.
HACache._own = {name: getattr(HACache, name) for name in COUNTERPARTS}  # noqa: SLF001 - our own
