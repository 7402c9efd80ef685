from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches as django_caches

from django_hacache.exceptions import CacheUnavailable
from django_hacache.worker import process
from tests.cache.site import cache_settings
from tests.node_process import NodeProcess, cluster_settings, serves


@dataclass
class Served:
    """A location, and the settings of the cluster that serves it."""

    location: Path
    hacache: dict[str, str]


@pytest.fixture(scope="session", params=["standalone", "node"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A location without a node, then one that the only node of a cluster serves."""
    # pytest's own directories can be too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="cache-") as directory:
        location = Path(directory)
        if request.param == "standalone":
            yield Served(location, {"HA_MODE": "false"})
            return
        if find_spec("django_hacache.node") is None:
            pytest.skip("there is no django_hacache.node yet")
        node = NodeProcess.start(location, "tests.cache.site")
        yield Served(location, cluster_settings(node.addr))
        node.stop()


@pytest.fixture
def caches(served: Served, settings: Any) -> Iterator[Any]:
    """django.core.cache.caches with the aliases of tests.cache.site, all empty."""
    settings.HACACHE = served.hacache
    settings.CACHES = cache_settings(str(served.location))
    for alias in django_caches:
        # The circuit breaker may still be open from the test before.
        eventually(lambda alias=alias: _cleared(django_caches[alias]))
    yield django_caches
    process.close()


class Styled:
    """A cache whose methods are called plainly, or as coroutines in an event loop."""

    def __init__(self, cache: Any, runner: asyncio.Runner | None) -> None:
        self._cache = cache
        self._runner = runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if self._runner is None:
            return getattr(self._cache, name)
        runner = self._runner
        coroutine = getattr(self._cache, f"a{name}")
        return lambda *args, **kwargs: runner.run(coroutine(*args, **kwargs))


Style = Callable[[Any], Styled]


@pytest.fixture(params=["sync", "async"])
def style(request: pytest.FixtureRequest) -> Iterator[Style]:
    """Makes a cache be called in one of the two styles, the same way for a whole test."""
    if request.param == "sync":
        yield lambda cache: Styled(cache, None)
        return
    with asyncio.Runner() as runner:
        yield lambda cache: Styled(cache, runner)


@pytest.fixture
def cache(caches: Any, style: Style) -> Styled:
    """The cache "default", called in one of the two styles."""
    return style(caches["default"])


class SmallNodeProcess:
    """tests.cache.small_node, started and stopped by a test."""

    def __init__(self, location: Path) -> None:
        self.location = location
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "tests.cache.small_node", str(self.location)])
        eventually(lambda: serves(self.location))

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def started_small_node() -> Iterator[SmallNodeProcess]:
    with tempfile.TemporaryDirectory(prefix="cache-") as directory:
        node = SmallNodeProcess(Path(directory))
        yield node
        node.kill()


@pytest.fixture
def small_node(started_small_node: SmallNodeProcess, settings: Any) -> Iterator[SmallNodeProcess]:
    """A running small node, with settings that make workers use it. A test may kill and start it."""
    node = started_small_node
    if node.process is None:
        node.start()
    settings.HACACHE = cluster_settings("127.0.0.1:9")
    settings.CACHES = cache_settings(str(node.location))
    for alias in django_caches:
        # The circuit breaker may still be open from the test before.
        eventually(lambda alias=alias: _cleared(django_caches[alias]))
    yield node
    process.close()


def _cleared(cache: Any) -> bool:
    try:
        cache.clear()
    except CacheUnavailable:
        return False
    return True


def eventually(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Wait until `condition()` is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.002)
