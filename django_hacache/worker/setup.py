"""What the settings of an alias come to: its options, what this process has open for it, who carries its changes out.

Made once for all cache objects of an alias in this process, since Django makes a new one for each thread and each
request of an event loop. Knows both kinds of writers; how they write is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.functional import cached_property  # has no lock that a fork could inherit

from django_hacache.conf import AckLevel
from django_hacache.conf.cluster import cluster_config
from django_hacache.conf.options import cache_options, ensure_fit_for_cluster, node_caches
from django_hacache.replica.eviction import Limits, map_size_for
from django_hacache.values.signing import codec_of
from django_hacache.worker import process
from django_hacache.worker.standalone_writer import StandaloneWriter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_hacache.conf import CacheOptions
    from django_hacache.values.signing import Codec
    from django_hacache.worker.writer import Writer


@dataclass(frozen=True)
class Setup:
    """Shared by all threads: what is made later is made from what is frozen here."""

    options: CacheOptions
    site: process.StandaloneSite | process.ClusterSite

    @cached_property
    def deciding_level(self) -> AckLevel:
        """The level where the answer has to come from who orders the changes."""
        level = self.options.ack_level
        return AckLevel.LEADER if level is AckLevel.DIRECT else level

    @cached_property
    def codec(self) -> Codec:
        return codec_of(self.options.name, self.options.signing_keys)

    @cached_property
    def writer(self) -> Writer:
        options = self.options
        if isinstance(self.site, process.StandaloneSite):
            limits = Limits(options.size_limit, options.max_entries, options.cull_frequency)
            return StandaloneWriter(options.name, limits, self.site, self.codec)
        # With it comes protobuf, see process.py.
        from django_hacache.worker.cluster_writer import ClusterWriter  # noqa: PLC0415

        return ClusterWriter(options.name, self.site)


def setup_of(alias: str, location: str, params: Mapping[str, Any]) -> Setup:
    """Return what this process has made of the settings, or will go on with."""
    return process.remembered(f"{alias}\0{location}\0{params!r}", lambda: set_up(alias, location, params))


def set_up(alias: str, location: str, params: Mapping[str, Any]) -> Setup:
    """Read and validate the settings. Raises ConfigurationError."""
    options = cache_options(alias, location, params)
    # The caches of one LOCATION share its file.
    caches = {options.name: options} | node_caches(options.location)
    map_size = map_size_for(sum(one.size_limit for one in caches.values()))
    clustered = cluster_config().ha_mode
    if clustered:
        ensure_fit_for_cluster([options])
    site_of = process.cluster_site if clustered else process.standalone_site
    return Setup(options, site_of(options.location, map_size))


@receiver(setting_changed)
def _follow_settings(*, setting: str, **_: object) -> None:
    if setting in ("CACHES", "HACACHE", "SECRET_KEY", "SECRET_KEY_FALLBACKS"):
        process.forget()
