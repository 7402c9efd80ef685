"""A cache as one variable, hacache:///run/mysite?ack_level=quorum, for django-environ. Must not know an option by name.

Importing this module registers the scheme with django-environ's Env, which is here under its own name:

    from django_hacache.cache_url import Env

    CACHES = {"default": Env().cache_url("CACHE_URL")}
"""

from __future__ import annotations

from typing import Any
from urllib.parse import ParseResult, unquote, urlparse

from environ import Env

from django_hacache.conf.options import BACKEND
from django_hacache.exceptions import ConfigurationError

__all__ = ["SCHEME", "Env"]

SCHEME = "hacache"

_of_environ = Env.cache_url_config.__func__


def _cache_url_config(cls: type[Env], url: str | ParseResult, backend: str | None = None) -> dict[str, Any]:
    """Return what django-environ makes of a URL, for ours with the path, which it keeps for its own schemes only."""
    config: dict[str, Any] = _of_environ(cls, url, backend)
    parsed = urlparse(url) if isinstance(url, str) else url
    if parsed.scheme != SCHEME:
        return config
    if parsed.netloc:
        raise ConfigurationError(
            f"The URL of the cache has a host after {SCHEME}://: expected three slashes and the path "
            f"of a directory on this host, such as {SCHEME}:///run/mysite. The other hosts belong in HA_HOSTS."
        )
    # hacache:///?timeout=60 names no directory; nobody means the root of the file system.
    return {**config, "LOCATION": "" if parsed.path == "/" else unquote(parsed.path)}


Env.CACHE_SCHEMES[SCHEME] = BACKEND
Env.cache_url_config = classmethod(_cache_url_config)
