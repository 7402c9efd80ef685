"""What a wrong setting is answered with."""

from __future__ import annotations

from typing import Any

import pytest

from django_hacache.conf.cluster import cluster_config
from django_hacache.exceptions import ConfigurationError


def error_of(call: Any = cluster_config) -> str:
    with pytest.raises(ConfigurationError) as caught:
        call()
    return str(caught.value)
