"""Reads the files of TLS once: a file that is broken later breaks nothing that works."""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import grpc

from django_hacache.conf.files import PEM_BYTES_MAX, UnfitFile, content_of
from django_hacache.exceptions import ConfigurationError
from django_hacache.system.platform import as_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from django_hacache.conf import TLS


class Secured:
    """What both ends of streams and lanes need for TLS.

    Raises ConfigurationError naming the file that cannot be used.
    """

    def __init__(self, tls: TLS) -> None:
        # The name that a peer's certificate must carry.
        self.expected_name = tls.sni_overwrite or tls.validate_domain
        # Whether everybody has to show a certificate, and a member one that is for its address.
        self.is_mutual = tls.ca_client is not None
        files = _Files.of(tls)
        self.server_context = _server_context(tls, files)
        self.client_context = _client_context(tls, files)
        if _Files.of(tls) != files:
            raise ConfigurationError("the files of TLS were written to while they were read")
        self.server = grpc.ssl_server_certificate_configuration(
            [(files.server_key, files.server_cert)], files.ca_client
        )
        self.channel = grpc.ssl_channel_credentials(files.ca_server, files.client_key, files.client_cert)


class _Files(NamedTuple):
    """What is in the files."""

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


def _server_context(tls: TLS, files: _Files) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with _named(f"{tls.server_cert} and {tls.server_key}"):
        _load(context, files.server_cert, files.server_key)
    if files.ca_client is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, files.ca_client, tls.ca_client)
    return _as_strict_as_grpc(context)


def _client_context(tls: TLS, files: _Files) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    if files.ca_server is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _trust(context, files.ca_server, tls.ca_server)
    # The rule for names is our own, see certificate_names.py.
    context.check_hostname = False
    if files.client_cert is not None and files.client_key is not None:
        with _named(f"{tls.client_cert} and {tls.client_key}"):
            _load(context, files.client_cert, files.client_key)
    return _as_strict_as_grpc(context)


def _load(context: ssl.SSLContext, cert: bytes, key: bytes) -> None:
    """From what was read: at the path there may be something else by now, and OpenSSL takes nothing but a path."""
    with as_path(cert) as cert_path, as_path(key) as key_path:
        context.load_cert_chain(cert_path, key_path)


@contextmanager
def _named(names: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # ssl.SSLError, too
        raise ConfigurationError(f"{names}: expected a certificate and its key: {error}") from error


def _trust(context: ssl.SSLContext, content: bytes, authority: Path | None) -> None:
    try:
        context.load_verify_locations(cadata=content.decode())
    except (ssl.SSLError, ValueError) as error:  # UnicodeDecodeError, too
        raise ConfigurationError(f"{authority}: expected the certificate of an authority: {error}") from error


def _as_strict_as_grpc(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Newer Pythons also ask for extensions that certificates of a private authority often lack.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _read(path: Path) -> bytes:
    try:
        return content_of(path, PEM_BYTES_MAX)[0]
    except UnfitFile as unfit:
        raise ConfigurationError(f"{path}: expected a readable PEM file, but {unfit}") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: expected a readable PEM file: {error.strerror}") from error
