"""TLS as its files were at one moment: read once, so that a file that is broken later breaks nothing that works."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, NamedTuple

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
        files = _Files.of(tls)
        self.server_context = _server_context(tls)
        self.client_context = _client_context(tls)
        if _Files.of(tls) != files:
            raise ConfigurationError("the files of TLS were written to while they were read")
        self.server = grpc.ssl_server_certificate_configuration(
            [(files.server_key, files.server_cert)], files.ca_client
        )
        self.channel = grpc.ssl_channel_credentials(files.ca_server, files.client_key, files.client_cert)


class _Files(NamedTuple):
    """What is in them."""

    server_cert: bytes
    server_key: bytes
    client_cert: bytes | None
    client_key: bytes | None
    ca_server: bytes | None
    ca_client: bytes | None

    @classmethod
    def of(cls, tls: TLS) -> _Files:
        others = (tls.client_cert, tls.client_key, tls.ca_server, tls.ca_client)
        return cls(
            _read(tls.server_cert),
            _read(tls.server_key),
            *(None if path is None else _read(path) for path in others),
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
