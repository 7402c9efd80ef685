# ruff: noqa: ASYNC109 - the signatures are Django's
"""Django's cache API for event loops: the signatures. Must not know who carries a change out.

Reads happen in the coroutine: they take microseconds. Django's own coroutines call their plain counterpart in a thread:
so a subclass that replaces it, or a debugging tool that does so on one cache object, sees every call. That holds here,
too: only where the counterpart is HACache's own does the coroutine do without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from django_hacache.changes.vocabulary import Clear
from django_hacache.worker.block import current, entered
from django_hacache.worker.calls import Calls, in_thread, prepared
from django_hacache.worker.operations import IGNORABLE, MISSING, Ack, Timeout, given

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Coroutines(Calls):
    """The coroutines. cache.py has their counterparts."""

    _own: ClassVar[Mapping[str, object]]
    """HACache's methods by name."""

    def _replaced(self, name: str) -> bool:
        """Whether something else is in place of HACache's method: in a subclass, on the class or on this object."""
        return name in self.__dict__ or getattr(type(self), name) is not self._own[name]

    async def _await_writes(self, *keys: str, version: int | None) -> None:
        """Wait for those of a block that are on their way to one of the keys."""
        block = current()
        if block is not None and block.has_writes:
            names = [self.make_key(key, version) for key in keys]
            if block.is_on_its_way(self._site, self._cache_name, names):
                await block.asettle()

    async def aget(self, key: str, default: Any = None, version: int | None = None) -> Any:
        # As _replaced tells, without a call: this is the way of every hit.
        if type(self).get is not self._own["get"] or "get" in self.__dict__:
            return await in_thread(self.get, key, default, version=version)
        if entered() is not None:
            await self._await_writes(key, version=version)
        return self.get(key, default, version)

    async def aget_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        if "aget" in self._overridden:
            return await super().aget_many(keys, version)
        if "get" in self._overridden or self._replaced("get_many"):
            return await in_thread(self.get_many, keys, version=version)
        keys = list(keys)
        await self._await_writes(*keys, version=version)
        return self.get_many(keys, version)

    async def ahas_key(self, key: str, version: int | None = None) -> bool:
        if self._replaced("has_key"):
            return await in_thread(self.has_key, key, version=version)
        await self._await_writes(key, version=version)
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
        if self._replaced("set"):
            await in_thread(self.set, key, value, timeout=timeout, version=version, **given(ack))
            return
        change = await prepared(self._set, key, value, timeout, version)
        await self._aperform("set", change, self._filling(key, ack))

    async def aadd(
        self,
        key: str,
        value: Any,
        timeout: Timeout = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        ack: Ack = None,
    ) -> bool:
        if self._replaced("add"):
            return await in_thread(self.add, key, value, timeout=timeout, version=version, **given(ack))
        change = await prepared(self._add, key, value, timeout, version)
        return change if isinstance(change, bool) else await self._adecide(change, ack)

    async def aget_or_set(
        self,
        key: str,
        default: Any,
        timeout: Timeout = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        ack: Ack = None,
    ) -> Any:
        value = await self.aget(key, MISSING, version=version)
        if value is not MISSING:
            return value
        if callable(default):
            default = default()
        try:
            if self._only_fills(ack):
                filling = await prepared(self._add, key, default, timeout, version)
                if not isinstance(filling, bool):
                    await self._aperform("get_or_set", filling, ack)
                return default
            if not await self.aadd(key, default, timeout=timeout, version=version, **given(ack)):
                value = await self.aget(key, MISSING, version=version)
                if value is not MISSING:
                    return value
                change = await prepared(self._replacing_unreadable, key, default, timeout, version)
                if change is not None:
                    await self._aperform("get_or_set", change, ack)
        except IGNORABLE as error:
            self._log_or_raise("get_or_set", error, replaced=self._replaced("add"))
            return default
        return await self.aget(key, default, version=version)

    async def atouch(
        self,
        key: str,
        timeout: Timeout = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        ack: Ack = None,
    ) -> bool:
        if self._replaced("touch"):
            return await in_thread(self.touch, key, timeout=timeout, version=version, **given(ack))
        return await self._aperform("touch", self._touch(key, timeout, version), ack)

    async def adelete(self, key: str, version: int | None = None, *, ack: Ack = None) -> bool:
        if self._replaced("delete"):
            return await in_thread(self.delete, key, version=version, **given(ack))
        return await self._aperform("delete", self._delete(key, version), ack)

    async def aincr(self, key: str, delta: Any = 1, version: int | None = None, *, ack: Ack = None) -> Any:
        if self._replaced("incr"):
            return await in_thread(self.incr, key, delta, version=version, **given(ack))
        return await self._arun(lambda: self._incr(key, delta, version), self._deciding_level(ack))

    async def adecr(self, key: str, delta: Any = 1, version: int | None = None, *, ack: Ack = None) -> Any:
        if self._replaced("decr"):
            return await in_thread(self.decr, key, delta, version=version, **given(ack))
        return await self.aincr(key, -delta, version=version, **given(ack))

    async def aincr_version(
        self, key: str, delta: int = 1, version: int | None = None, *, ack: Ack = None
    ) -> int:
        if self._replaced("incr_version"):
            return await in_thread(self.incr_version, key, delta, version=version, **given(ack))
        return await self._arun(lambda: self._incr_version(key, delta, version), self._deciding_level(ack))

    async def adecr_version(
        self, key: str, delta: int = 1, version: int | None = None, *, ack: Ack = None
    ) -> int:
        if self._replaced("decr_version"):
            return await in_thread(self.decr_version, key, delta, version=version, **given(ack))
        return await self.aincr_version(key, -delta, version=version, **given(ack))

    async def aset_many(
        self,
        data: Mapping[str, Any],
        timeout: Timeout = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        ack: Ack = None,
    ) -> list[str]:
        if "aset" in self._overridden:
            for key, value in data.items():
                await self.aset(key, value, timeout=timeout, version=version, **given(ack))
            return []
        if "set" in self._overridden or self._replaced("set_many"):
            return await in_thread(self.set_many, data, timeout=timeout, version=version, **given(ack))
        return await self._arun(lambda: self._set_many(data, timeout, version), self._level(ack), "set_many")

    async def adelete_many(self, keys: Iterable[str], version: int | None = None, *, ack: Ack = None) -> None:
        if "adelete" in self._overridden:
            for key in keys:
                await self.adelete(key, version=version, **given(ack))
        elif "delete" in self._overridden or self._replaced("delete_many"):
            await in_thread(self.delete_many, keys, version=version, **given(ack))
        else:
            await self._arun(lambda: self._delete_many(keys, version), self._level(ack), "delete_many")

    async def aclear(self, *, ack: Ack = None) -> None:
        if self._replaced("clear"):
            await in_thread(self.clear, **given(ack))
            return
        await self._aperform("clear", Clear(), ack)


# The plain methods that a coroutine has a shorter way for, where nobody has replaced them. aget_or_set() calls others.
COUNTERPARTS = tuple(
    name.removeprefix("a") for name in vars(Coroutines) if name.startswith("a") and name != "aget_or_set"
)
OVERRIDABLE = (*COUNTERPARTS, "aget", "aset", "adelete")
