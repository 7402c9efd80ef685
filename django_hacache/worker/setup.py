"""The setup of an alias: its options, the site of its LOCATION, and the writer that carries its changes out.

A process makes it once for all cache objects of the alias, since Django makes a new one for each thread and each
request of an event loop. Knows both kinds of writers; must not know how they write.
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
from django_hacache.worker.sites import ClusterSite, StandaloneSite
from django_hacache.worker.standalone_writer import StandaloneWriter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_hacache.conf import CacheOptions
    from django_hacache.values.signing import Codec
    from django_hacache.worker.writer import Writer


@dataclass(frozen=True)
class Setup:
    """Shared by all threads: two may make the same property at once, and make the same of what is frozen."""

    options: CacheOptions
    site: StandaloneSite | ClusterSite
    codec: Codec

    @cached_property
    def deciding_level(self) -> AckLevel:
        """The level of a write whose answer is a decision, which only the leader can make."""
        level = self.options.ack_level
        return AckLevel.LEADER if level is AckLevel.DIRECT else level

    @cached_property
    def writer(self) -> Writer:
        options = self.options
        if isinstance(self.site, StandaloneSite):
            limits = Limits(options.size_limit, options.max_entries, options.cull_frequency)
            return StandaloneWriter(options.name, limits, self.site, self.codec)
        # Not at the top: protobuf comes with it, see sites.py.
        from django_hacache.worker.cluster_writer import ClusterWriter  # noqa: PLC0415

        return ClusterWriter(options.name, self.site)


def setup_of(alias: str, location: str, params: Mapping[str, Any]) -> Setup:
    """Return the one setup of these settings in this process. Raises ConfigurationError."""
    return process.remembered(f"{alias}\0{location}\0{params!r}", lambda: set_up(alias, location, params))


def set_up(alias: str, location: str, params: Mapping[str, Any]) -> Setup:
    """Read and validate the settings, and make a setup of them. Raises ConfigurationError."""
    options = cache_options(alias, location, params)
    # The caches of one LOCATION share its file.
    caches = {options.name: options} | node_caches(options.location)
    map_size = map_size_for(sum(one.size_limit for one in caches.values()))
    clustered = cluster_config().ha_mode
    if clustered:
        ensure_fit_for_cluster([options])
    kind: type[StandaloneSite | ClusterSite] = ClusterSite if clustered else StandaloneSite
    codec = codec_of(options.name, options.signing_keys)
    return Setup(options, process.site_of(kind, options.location, map_size), codec)


@receiver(setting_changed)
def _follow_settings(*, setting: str, **_: object) -> None:
    if setting in ("CACHES", "HACACHE", "SECRET_KEY", "SECRET_KEY_FALLBACKS"):
        process.forget()
