from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches as django_caches

from django_hacache.worker import process
from tests.cache.served import Served, SmallNodeProcess, empty
from tests.cache.site import cache_settings
from tests.cache.styles import Style, Styled
from tests.node_process import NodeProcess, cluster_settings


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
    empty()
    yield django_caches
    process.close()


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
    empty()
    yield node
    process.close()
