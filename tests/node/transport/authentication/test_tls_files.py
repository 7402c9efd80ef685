"""The files of TLS are read once and at once, whatever stands there by then."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from django_hacache.exceptions import ConfigurationError
from django_hacache.node.transport.authentication.tls import Secured
from tests.certificates import Authority
from tests.node.transport.test_tls import tls_of

FILES = ["server_cert", "server_key", "client_cert", "client_key", "ca_server", "ca_client"]


@pytest.mark.parametrize("which", FILES)
def test_what_became_a_fifo_after_it_was_looked_at_is_refused_and_not_waited_for(tmp_path, which):
    authority = Authority(tmp_path)
    settings = tls_of(authority, authority.issue("host"))
    Secured(settings)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(ConfigurationError, match="it is no regular file"):
        Secured(replace(settings, **{which: fifo}))
