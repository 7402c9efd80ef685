"""TLS as its files were at one moment: read once, so that a file that is broken later breaks nothing that works."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import grpc

from django_hacache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from django_hacache.conf import TLS


class Secured:
    """What both ends of streams and lanes need of it.

    Raises ConfigurationError naming the file that cannot be used.
    """

    def __init__(self, tls: TLS) -> None:
        # The name that a peer's certificate must carry.
        self.expected_name = tls.sni_overwrite or tls.validate_domain
        # Whether everybody has to show a certificate, and a member one that is for its address.
        self.is_mutual = tls.ca_client is not None
        self.server_context = _server_context(tls)
        self.client_context = _client_context(tls)
        self.server = grpc.ssl_server_certificate_configuration(
            [(_read(tls.server_key), _read(tls.server_cert))],
            _read(tls.ca_client) if tls.ca_client else None,
        )
        self.channel = grpc.ssl_channel_credentials(
            root_certificates=_read(tls.ca_server) if tls.ca_server else None,
            private_key=_read(tls.client_key) if tls.client_key else None,
            certificate_chain=_read(tls.client_cert) if tls.client_cert else None,
        )


def _server_context(tls: TLS) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load(context, tls.server_cert, tls.server_key)
    if tls.ca_client:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, tls.ca_client)
    return _as_strict_as_grpc(context)


def _client_context(tls: TLS) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    if tls.ca_server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _trust(context, tls.ca_server)
    # The rule for names is our own, see names.py.
    context.check_hostname = False
    if tls.client_cert and tls.client_key:
        _load(context, tls.client_cert, tls.client_key)
    return _as_strict_as_grpc(context)


def _load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:  # ssl.SSLError, too
        raise ConfigurationError(f"{cert} and {key}: expected a certificate and its key: {error}") from error


def _trust(context: ssl.SSLContext, authority: Path) -> None:
    try:
        context.load_verify_locations(cadata=_read(authority).decode())
    except (ssl.SSLError, ValueError) as error:  # UnicodeDecodeError, too
        raise ConfigurationError(f"{authority}: expected the certificate of an authority: {error}") from error


def _as_strict_as_grpc(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Newer Pythons also ask for extensions that certificates of a private authority often lack.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: expected a readable PEM file: {error.strerror}") from error
