# ruff: noqa: ASYNC109 - the signatures are Django's
"""HACache: Django's cache API over the replica of this host. The one class that users name.

Reads happen in the calling thread, in a coroutine too: they take microseconds. Writes are steps (see
operations.py) that are run here, blocking or not, against the writer that fits: the worker itself on a
single machine, the host's node in a cluster.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.signals import setting_changed
from django.dispatch import receiver

from django_hacache import process
from django_hacache.alias import alias_of, candidates
from django_hacache.changes import Clear
from django_hacache.conf import AckLevel, CacheOptions, cache_options, cluster_config, node_aliases
from django_hacache.exceptions import HACacheError
from django_hacache.operations import UNABLE, Operations
from django_hacache.replica.eviction import Limits, map_size_for
from django_hacache.standalone import AsyncStandaloneWriter, StandaloneWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django_hacache.changes import AsyncWriter, Change, Steps, T, Writer
    from django_hacache.replica.replica import Reader

Ack = AckLevel | str | None
Timeout = float | None  # seconds; None: for ever


@dataclass(frozen=True)
class _Setup:
    """What the settings of an alias come to, shared by all its cache objects in this process."""

    options: CacheOptions
    site: process.StandaloneSite | process.ClusterSite

    @cached_property
    def writer(self) -> Writer:
        options = self.options
        if isinstance(self.site, process.StandaloneSite):
            limits = Limits(options.size_limit, options.max_entries, options.cull_frequency)
            return StandaloneWriter(options.name, limits, self.site)
        from django_hacache.cluster import ClusterWriter  # noqa: PLC0415 - with it comes protobuf, see process.py

        return ClusterWriter(options.name, self.site)

    @cached_property
    def async_writer(self) -> AsyncWriter:
        if isinstance(self.site, process.StandaloneSite):
            return AsyncStandaloneWriter(self.writer)
        from django_hacache.cluster import AsyncClusterWriter  # noqa: PLC0415 - as above

        return AsyncClusterWriter(self.options.name, self.site)


def _set_up(name: str, location: str, params: Mapping[str, Any]) -> _Setup:
    options = cache_options(name, location, params)
    # The aliases of one LOCATION share its file.
    aliases = {name: options} | node_aliases(options.location)
    map_size = map_size_for(sum(alias.size_limit for alias in aliases.values()))
    site_of = process.cluster_site if cluster_config().ha_mode else process.standalone_site
    return _Setup(options, site_of(options.location, map_size))


@receiver(setting_changed)
def _follow_settings(*, setting: str, **_: object) -> None:
    if setting in ("CACHES", "HACACHE"):
        process.forget()


class HACache(Operations):
    """The cache of one alias: shared by all processes of this machine, or by all hosts of the cluster.

    Where the cluster cannot answer, reads are misses and writes raise CacheUnavailable; with
    IGNORE_EXCEPTIONS set, touch, delete, clear, set, set_many and delete_many log it and return what they
    return when they did nothing, and get_or_set returns the default. add, incr, decr and the version changes
    raise all the same: their answer is a decision.

    Every writing method takes `ack`: the level at which this one write is acknowledged ("direct", "leader",
    "once", "quorum", "all") in place of OPTIONS["ACK_LEVEL"]. At "direct" nobody is waited for, so delete
    and touch return whether the node took the request; add, incr and decr then use "leader".

    close() closes nothing: Django calls it after each request, and what is open belongs to the process.
    """

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
    def _cache_name(self) -> str:
        return self._aliases[0] if len(self._aliases) == 1 else alias_of(self, self._aliases)

    @cached_property
    def _setup(self) -> _Setup:
        name = self._cache_name
        described = f"{name}\0{self._location}\0{self._params!r}"
        return process.remembered(described, lambda: _set_up(name, self._location, self._params))

    @cached_property
    def _options(self) -> CacheOptions:  # type: ignore[override]
        return self._setup.options

    @cached_property
    def _site(self) -> process.StandaloneSite | process.ClusterSite:
        return self._setup.site

    @property
    def _reader(self) -> Reader:
        return self._site.reader

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
        self._perform("set", self._set(key, value, timeout, version), ack)

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
        return self._run(self._add(key, value, timeout, version), self._deciding(ack))

    def get_or_set(
        self,
        key: str,
        default: Any,
        timeout: Timeout = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        ack: Ack = None,
    ) -> Any:
        """Return the value; where there is none, add `default` (or what it returns) first."""
        return self._run(self._get_or_set(key, default, timeout, version), self._deciding(ack))

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
        return self._run(self._incr(key, delta, version), self._deciding(ack))

    def decr(self, key: str, delta: Any = 1, version: int | None = None, *, ack: Ack = None) -> Any:
        """Subtract `delta` and return the new value. ValueError where the key is missing."""
        return self._run(self._incr(key, -delta, version), self._deciding(ack))

    def incr_version(self, key: str, delta: int = 1, version: int | None = None, *, ack: Ack = None) -> int:
        """Move the value to `version` + `delta` and return that. ValueError: the key is missing.

        In a cluster it is gone from the old version a moment before it is in the new one. Where the cluster fails
        in between, OutcomeUnknown is raised and the entry is lost.
        """
        return self._run(self._incr_version(key, delta, version), self._deciding(ack))

    def decr_version(self, key: str, delta: int = 1, version: int | None = None, *, ack: Ack = None) -> int:
        """Move the value to `version` - `delta` and return that, as incr_version does."""
        return self._run(self._incr_version(key, -delta, version), self._deciding(ack))

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
        return self._run(self._set_many(data, timeout, version), self._level(ack))

    def delete_many(self, keys: Iterable[str], version: int | None = None, *, ack: Ack = None) -> None:
        """Remove the keys."""
        self._run(self._delete_many(keys, version), self._level(ack))

    def clear(self, *, ack: Ack = None) -> None:
        """Remove everything from this cache; those of other aliases stay."""
        self._perform("clear", Clear(), ack)

    def _level(self, ack: Ack) -> AckLevel:
        return self._options.ack_level if ack is None else AckLevel(ack)

    def _deciding(self, ack: Ack) -> AckLevel:
        """The level where the answer has to come from who orders the changes."""
        level = self._level(ack)
        return AckLevel.LEADER if level is AckLevel.DIRECT else level

    def _perform(self, operation: str, change: Change, ack: Ack) -> bool:
        """Carry out one change; return whether it took effect: False where a failure is ignored."""
        setup = self._setup
        options = setup.options
        level = options.ack_level if ack is None else AckLevel(ack)
        deadline = time.monotonic() + options.write_timeout_s
        try:
            return setup.writer.perform(change, ack=level, deadline=deadline).effective
        except UNABLE as error:
            self._log_or_raise(operation, error)
            return False

    def _run(self, steps: Steps[T], ack: AckLevel) -> T:
        """Run the steps of one call, which share one deadline, and return what they return."""
        setup = self._setup
        perform = setup.writer.perform
        deadline = time.monotonic() + setup.options.write_timeout_s
        try:
            change = next(steps)
            while True:
                try:
                    outcome = perform(change, ack=ack, deadline=deadline)
                except HACacheError as error:
                    change = steps.throw(error)
                else:
                    change = steps.send(outcome)
        except StopIteration as end:
            return cast("T", end.value)

    # The same for coroutines

    async def aget(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return self.get(key, default, version)

    async def aget_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        return self.get_many(keys, version)

    async def ahas_key(self, key: str, version: int | None = None) -> bool:
        return self.has_key(key, version)

    async def aset(
        self,
        key: str,
        value: Any,
        timeout: Timeout = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        ack: Ack = None,
    ) -> None:
        await self._aperform("set", self._set(key, value, timeout, version), ack)

    async def aadd(
        self,
        key: str,
        value: Any,
        timeout: Timeout = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        ack: Ack = None,
    ) -> bool:
        return await self._arun(self._add(key, value, timeout, version), self._deciding(ack))

    async def aget_or_set(
        self,
        key: str,
        default: Any,
        timeout: Timeout = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        ack: Ack = None,
    ) -> Any:
        return await self._arun(self._get_or_set(key, default, timeout, version), self._deciding(ack))

    async def atouch(
        self,
        key: str,
        timeout: Timeout = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        ack: Ack = None,
    ) -> bool:
        return await self._aperform("touch", self._touch(key, timeout, version), ack)

    async def adelete(self, key: str, version: int | None = None, *, ack: Ack = None) -> bool:
        return await self._aperform("delete", self._delete(key, version), ack)

    async def aincr(self, key: str, delta: Any = 1, version: int | None = None, *, ack: Ack = None) -> Any:
        return await self._arun(self._incr(key, delta, version), self._deciding(ack))

    async def adecr(self, key: str, delta: Any = 1, version: int | None = None, *, ack: Ack = None) -> Any:
        return await self._arun(self._incr(key, -delta, version), self._deciding(ack))

    async def aincr_version(
        self, key: str, delta: int = 1, version: int | None = None, *, ack: Ack = None
    ) -> int:
        return await self._arun(self._incr_version(key, delta, version), self._deciding(ack))

    async def adecr_version(
        self, key: str, delta: int = 1, version: int | None = None, *, ack: Ack = None
    ) -> int:
        return await self._arun(self._incr_version(key, -delta, version), self._deciding(ack))

    async def aset_many(
        self,
        data: Mapping[str, Any],
        timeout: Timeout = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        ack: Ack = None,
    ) -> list[str]:
        return await self._arun(self._set_many(data, timeout, version), self._level(ack))

    async def adelete_many(self, keys: Iterable[str], version: int | None = None, *, ack: Ack = None) -> None:
        await self._arun(self._delete_many(keys, version), self._level(ack))

    async def aclear(self, *, ack: Ack = None) -> None:
        await self._aperform("clear", Clear(), ack)

    async def _aperform(self, operation: str, change: Change, ack: Ack) -> bool:
        setup = self._setup
        options = setup.options
        level = options.ack_level if ack is None else AckLevel(ack)
        deadline = time.monotonic() + options.write_timeout_s
        try:
            return (await setup.async_writer.perform(change, ack=level, deadline=deadline)).effective
        except UNABLE as error:
            self._log_or_raise(operation, error)
            return False

    async def _arun(self, steps: Steps[T], ack: AckLevel) -> T:
        setup = self._setup
        perform = setup.async_writer.perform
        deadline = time.monotonic() + setup.options.write_timeout_s
        try:
            change = next(steps)
            while True:
                try:
                    outcome = await perform(change, ack=ack, deadline=deadline)
                except HACacheError as error:
                    change = steps.throw(error)
                else:
                    change = steps.send(outcome)
        except StopIteration as end:
            return cast("T", end.value)
