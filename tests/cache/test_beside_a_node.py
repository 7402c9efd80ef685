"""A process that lacks the node's settings does not write to its directory behind its back."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from django.core.cache import caches

from django_hacache.exceptions import ConfigurationError
from django_hacache.worker import process
from tests.cache.site import cache_settings
from tests.node_process import NodeProcess


def test_a_standalone_cache_is_refused_where_a_node_serves(settings):
    # pytest's own directories can be too long for a Unix socket.
    with TemporaryDirectory(prefix="cache-") as location:
        settings.CACHES = cache_settings(location)
        settings.HACACHE = {"HA_MODE": False}
        node = NodeProcess.start(Path(location), "tests.cache.site")
        try:
            for call in (lambda cache: cache.set("key", "this host's"), lambda cache: cache.get("key")):
                with pytest.raises(
                    ConfigurationError, match=r"a node .* serves .*, and HA_MODE is not true here"
                ):
                    call(caches["default"])
        finally:
            node.stop()
        # It is gone: the directory is this machine's again.
        caches["default"].set("key", "this host's")
        process.close()
