"""Writes that are waited for together: `with together():`, and the middleware that makes each request one block.

In a block `set`, `delete`, `touch`, `set_many` and `delete_many` return when they are handed over; it ends when all of
them are acknowledged at their level. See docs/how-to/together.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

from django_hacache.worker.block import Block, current, enter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    Answer = HttpResponseBase | Awaitable[HttpResponseBase]


class together:  # noqa: N801 - used as a function, like transaction.atomic
    """Makes a block of code, by `with` or `async with`.

    A write that failed raises at the end of the block what it would have raised by itself. Where the block ends with an
    exception, that goes on, and the failures of writes are logged. An inner block is a part of the outer one, and waits
    for what was handed over so far.
    """

    def __init__(self) -> None:
        self._outer: Block | None = None
        self._block: Block | None = None

    def __enter__(self) -> None:
        self._outer = current()
        self._block = self._outer or Block()
        enter(self._block)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        block = cast("Block", self._block)
        try:
            block.settle()
        finally:
            self._leave(block)
        block.tell(error)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        block = cast("Block", self._block)
        try:
            await block.asettle()
        finally:
            self._leave(block)
        block.tell(error)

    def _leave(self, block: Block) -> None:
        if self._outer is None:
            block.close()
        enter(self._outer)


class TogetherMiddleware:
    """Makes each request one block: its response leaves when all its writes are acknowledged.

    It stands before every middleware that writes: SessionMiddleware above all. A write that failed is an exception of
    this middleware. A write that a streaming response makes while it is sent waits by itself.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Answer]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Answer:
        if self._is_async:
            return self._acall(request)
        with together():
            return self._get_response(request)

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        async with together():
            return await cast("Awaitable[HttpResponseBase]", self._get_response(request))
